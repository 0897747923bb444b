"""The backend: what Keras computes with, and how its compiler is set up.

Owns the one setting that has to be made before the compiler is first used in a process.
"""

import os

from pipeline.cores import usable_cores

SETTINGS = (
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_DETERMINISTIC_OPS",
    "JAX_DEFAULT_MATMUL_PRECISION",
)
"""Variables of the environment that change the last digits of a result."""

WIDE_VECTORS = "--xla_cpu_prefer_vector_width"


def backend_name() -> str:
    """Return what Keras computes with: ``tensorflow``, ``jax``, ``torch``."""
    import keras

    return str(keras.backend.backend())


def machine() -> dict[str, str]:
    """Return what of this machine decides the last digits of a training: devices, cores, compiler settings."""
    import keras

    set_up_compiler()
    settings = {name: os.environ.get(name, "") for name in SETTINGS}
    return {**settings, "devices": " ".join(keras.distribution.list_devices()), "cores": str(usable_cores())}


def accelerator() -> str:
    """Return the first device that is no CPU, as Keras calls it, or an empty text."""
    import keras

    return next((name for name in keras.distribution.list_devices() if not name.startswith("cpu")), "")


def set_up_compiler() -> None:
    """Have TensorFlow's XLA use vectors of 512 bits where the CPU has them; it takes 256 otherwise.

    What the environment says already stays. Other XLAs are left alone: one that did not know the setting would end
    the process.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if WIDE_VECTORS not in flags and backend_name() == "tensorflow":
        os.environ["XLA_FLAGS"] = f"{flags} {WIDE_VECTORS}=512".strip()
