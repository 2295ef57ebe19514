"""Hardware of a study's target, or of this machine while a target on it does not answer."""

from autotuner.errors import EnvironmentFaultError
from autotuner.plugins.deployer import AssumesHardware, BoundDeployer
from autotuner.study.launch import Hardware


async def target_hardware(deployer: BoundDeployer, *, planning: bool) -> tuple[Hardware, bool]:
    """The hardware of the target, and whether it is only assumed.

    A study can be planned while its container engine does not answer: the engine is on this machine, whose hardware is
    assumed then, and a preflight check fails. A run needs the real hardware.

    Raises:
        EnvironmentFaultError: If the target does not answer, unless the hardware can be assumed.
    """
    try:
        return await deployer.hardware(), False
    except EnvironmentFaultError:
        if not planning or not isinstance(deployer, AssumesHardware):
            raise
    return await deployer.assumed_hardware(), True
