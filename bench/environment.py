"""Environment variables that every process of a run needs, to be set before torch is imported."""

RUN_ENVIRONMENT = {
    # Threads that spin while they wait stand in one another's way as soon as anything else runs on the machine:
    # training then takes many times as long.
    "OMP_WAIT_POLICY": "passive",
    # Without it, matrix products on a GPU may differ from run to run.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
