"""The bar that shows itself only when the work is long."""

from tftransfer.data.progress import Progress


def test_short_work_is_silent_and_long_work_is_shown(capsys):
    progress = Progress(2, "reading")
    progress.add(2)
    assert capsys.readouterr().out == ""
    progress = Progress(2, "reading", patience=0)
    progress.add(1)
    progress.add(1)
    assert "reading" in capsys.readouterr().out
