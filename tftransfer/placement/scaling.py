"""What more devices should give, by arithmetic from a measured step and published bandwidths."""

import dataclasses

import keras

__all__ = ["LINKS", "Link", "Scaling", "gradient_bytes", "scaling"]


@dataclasses.dataclass(frozen=True)
class Link:
    """What connects two neighbours of a ring of devices.

    Attributes:
        bytes_per_second: in one direction.
        latency_s: seconds before the first byte of a message arrives; an order of magnitude, not a published figure.
        source: where the bandwidth stands.
    """

    bytes_per_second: float
    latency_s: float
    source: str


LINKS = {
    "nvlink4": Link(
        450e9,
        5e-6,
        "NVIDIA H100 datasheet: 900 GB/s per GPU, both directions; https://www.nvidia.com/en-us/data-center/h100/",
    ),
    "nvlink3": Link(
        300e9,
        5e-6,
        "NVIDIA A100 datasheet: 600 GB/s per GPU, both directions; https://www.nvidia.com/en-us/data-center/a100/",
    ),
    "pcie4": Link(32e9, 10e-6, "PCI Express 4.0, 16 lanes: 16 GT/s each, 128b/130b; https://pcisig.com"),
    "infiniband_ndr": Link(
        50e9, 10e-6, "400 Gb/s a port; https://www.nvidia.com/en-us/networking/infiniband-switching/"
    ),
    "ethernet_100g": Link(12.5e9, 50e-6, "100 Gb/s a port, IEEE 802.3"),
    "tpu_v5e": Link(
        200e9,
        5e-6,
        "Cloud TPU v5e: 400 GB/s per chip, both directions; https://cloud.google.com/tpu/docs/v5e",
    ),
}
CASES = {
    "8 GPUs in a host (NVLink 4)": (8, "nvlink4"),
    "8 GPUs in a host (PCIe 4)": (8, "pcie4"),
    "8 hosts × 1 GPU (100 Gb/s)": (8, "ethernet_100g"),
    "8 hosts × 8 GPUs (400 Gb/s)": (64, "infiniband_ndr"),
    "TPU v5e-8": (8, "tpu_v5e"),
}
WORTH_WHILE = 0.5  # below this efficiency scaling is said to have stopped


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What `scaling` worked out for some devices in a ring; arithmetic, not a measurement.

    Attributes:
        name: which devices.
        devices: how many.
        communication_s: seconds of a step that the all-reduce takes.
        efficiency: share of the devices' time that computes, where nothing is sent while computing.
        efficiency_overlapped: the same where everything is sent while computing; the truth lies between the two.
        speedup: examples per second, as a multiple of one device's, by `efficiency`.
        stops_at: number of devices from which on, at a *fixed global* batch, half of the time or more is spent sending;
            None if it is not reached by 4,096.
    """

    name: str
    devices: int
    communication_s: float
    efficiency: float
    efficiency_overlapped: float
    speedup: float
    stops_at: int | None

    def __str__(self):
        stops = f"{self.stops_at} devices" if self.stops_at else "beyond 4096"
        return (
            f"{self.name:30} {self.communication_s * 1e3:8.2f} ms {self.efficiency:6.0%} to "
            f"{self.efficiency_overlapped:4.0%} {self.speedup:7.1f}× {stops:>14}"
        )


def gradient_bytes(model, *, dtype="float32"):
    """Bytes of the gradients of a model, which every replica sends once a step.

    Args:
        model: a built model, its layers frozen as they will be.
        dtype: what gradients are sent in; Keras keeps variables, and so their gradients, in float32.

    Example:
        >>> import tftransfer as tt
        >>> tt.placement.gradient_bytes(tt.backbones.mlp((4,), units=(2,)))
        40
    """
    size = keras.backend.standardize_dtype(dtype)
    width = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}[size]
    return width * sum(int(keras.ops.size(v)) for v in model.trainable_variables)


def scaling(step_s, gradient_bytes, *, cases=None, verbose=True):
    """Computes what several devices should give, from the measured step of one and the bytes that each sends.

    This is arithmetic, not a measurement. A ring of N devices sums S bytes in

    `2 (N - 1) / N · S / bandwidth + 2 (N - 1) · latency`

    seconds at the speed of its slowest link, and every device computes its own share of a batch that grows with N
    (the time of a step stays, the examples in it multiply). It knows nothing of input pipelines, of stragglers, of
    switches that others use too, or of libraries that do better than a ring. Where the batch stays as it is and each
    device's share shrinks, scaling stops much sooner: see `Scaling.stops_at`.

    Reference: Patarasu & Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009,
    https://doi.org/10.1016/j.jpdc.2008.09.002

    Args:
        step_s: seconds of a training step on one such device, measured there.
        gradient_bytes: bytes that a device sends a step (`gradient_bytes(model)`).
        cases: `{name: (devices, link)}` with "nvlink4", "nvlink3", "pcie4", "infiniband_ndr", "ethernet_100g" or
            "tpu_v5e" (each a `Link` that names its source), or a `Link` of your own; by default 8 GPUs in a host, 8
            hosts, and a TPU v5e-8.
        verbose: whether to print a table.

    Returns:
        A list of `Scaling`, one for each case.

    Raises:
        ValueError: for numbers that are not positive, or an unknown link.

    Example:
        >>> import tftransfer as tt
        >>> one = tt.placement.scaling(0.1, 100e6, cases={"8 hosts": (8, "ethernet_100g")}, verbose=False)[0]
        >>> round(one.communication_s, 4), round(one.efficiency, 2), one.stops_at
        (0.0147, 0.87, 7)
    """
    for label, value in (("step_s", step_s), ("gradient_bytes", gradient_bytes)):
        if not value > 0:
            raise ValueError(f"{label} is a positive number. Received: {value!r}.")
    found = []
    for name, (devices, link) in (CASES if cases is None else cases).items():
        if not isinstance(link, Link):
            if link not in LINKS:
                raise ValueError(
                    f"Unknown link. Received: {link!r}. Known: {', '.join(LINKS)}; or give a Link."
                )
            link = LINKS[link]
        if devices < 1:
            raise ValueError(f"{name!r} needs at least one device. Received: {devices!r}.")
        sending = all_reduce_s(devices, gradient_bytes, link)
        efficiency = step_s / (step_s + sending)
        found.append(
            Scaling(
                name=name,
                devices=devices,
                communication_s=sending,
                efficiency=efficiency,
                efficiency_overlapped=step_s / max(step_s, sending),
                speedup=devices * efficiency,
                stops_at=_stops_at(step_s, gradient_bytes, link),
            )
        )
    if verbose:
        names = f"{'all-reduce':>11} {'efficiency':>14} {'speed':>8} {'same batch to':>14}"
        print(f"{'arithmetic, not measured':30} {names}", *found, sep="\n")
    return found


def all_reduce_s(devices, size, link):
    """Seconds that a ring of devices needs to sum `size` bytes, and all to have the sum."""
    return 2 * (devices - 1) / devices * size / link.bytes_per_second + 2 * (devices - 1) * link.latency_s


def _stops_at(step_s, size, link):
    for devices in range(2, 4097):
        computing = step_s / devices
        if computing / (computing + all_reduce_s(devices, size, link)) <= WORTH_WHILE:
            return devices
    return None
