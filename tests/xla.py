"""XLA as a stand-in for a TPU: what it refuses to lower, no TPU compiles."""

import keras


def lowered(model, *data):
    """XLA's own code (HLO, as text) of a whole training step of a compiled model; refused is what XLA cannot compile.

    Making machine code of it, which takes five times as long, adds nothing that a TPU would share.
    """
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)
    flat = [tf.convert_to_tensor(part) for part in keras.tree.flatten(data)]

    def step(*flat):
        return model.train_step(keras.tree.pack_sequence_as(data, flat))

    step = tf.function(step, jit_compile=True, autograph=False)
    return step.experimental_get_compiler_ir(*flat)(stage="hlo")
