"""Hardware of a study's target, or of this machine while a target on it does not answer, and the target's own flags."""

from collections.abc import Mapping

from autotuner.errors import EnvironmentFaultError
from autotuner.plugins.deployer import AssumesHardware, BaseArguments, BoundDeployer, HasBaseArguments
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.launch import Hardware
from autotuner.study.parameters.portable import is_portable
from autotuner.study.spec import StudySpec


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


async def over_base(deployer: BoundDeployer) -> tuple[BoundDeployer, BaseArguments]:
    """The deployer for plans that include the target's own flags, and these flags."""
    if not isinstance(deployer, HasBaseArguments):
        return deployer, BaseArguments({}, "")
    own = await deployer.base_arguments()
    return deployer.built_over(own), own


def below(engine: Engine, spec: StudySpec, base: Mapping[str, Value]) -> dict[str, Value]:
    """Flags of the target's own command line that the study does not set, neither by name nor by a portable one."""
    said = [*spec.engine.args, *(flag for p in spec.parameters for flag in p.flags)]
    portable = {engine.canonical(flag) for name in said if is_portable(name) for flag in engine.portable_flags(name)}
    own = {engine.canonical(name) for name in spec.engine.args if not is_portable(name)}
    return {name: value for name, value in base.items() if name not in portable | own}
