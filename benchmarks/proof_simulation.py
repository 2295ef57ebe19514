"""Simulated studies: how often the proof makes a wrong claim, what it answers, and how many launches it takes.

    python benchmarks/proof_simulation.py [--studies 10000] [--jobs 2] [--confidence 95] [--seed 1]
        [--extensions 1]

A study is a default and 2 to 12 other configurations with true speeds, noise between launches (each configuration its
own, from 0.5% to 5%), drift of the machine (a random walk from launch to launch and a slope), a crash in 1% of the
launches, and an SLO on a latency that many configurations nearly miss. The search measures every configuration once. As
in a real run, ``next_repeat`` decides the launches of the proof and ``conclude`` the claims. No server is started. The
same studies are proven with three fixed repeats for comparison. With ``--extensions``, they are also searched in parts,
each of which is proven before the next one: whoever searches further after a proof reads several answers, and a study
counts as wrong if any of them was.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from random import Random

from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.spec import ConfirmSpec, StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.testing.samples import sample_spec
from autotuner.tuning.ending import conclude
from autotuner.tuning.proof.blocks import next_repeat
from autotuner.tuning.proof.decision import decidable_noise, shared_alpha

CRASHES = 0.01
HARM = 0.02
SPREADS = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Standard deviations of the true log speeds of a study; at 0, all configurations are equal."""
_CRASH = Failure(cause=FailureCause.CRASH_UNDER_LOAD, message="it ended")
_BOUND = Violation(slo="p99 ttft <= 200ms", where="D(128,48) concurrency=16", value=0.21, threshold=0.2, relative=0.05)
OBJECTIVE = Objective(metric="output_throughput", direction=Direction.MAX)


@dataclass(frozen=True)
class World:
    """True values of one simulated study, by configuration; the default is 0."""

    speeds: tuple[float, ...]
    """Log speed."""
    noise: tuple[float, ...]
    """Standard deviation of the log speed between launches."""
    latency: tuple[float, ...]
    """Log of the latency over its bound; above 0, the SLO is missed."""
    walk: float
    slope: float
    spread: float


def random_world(source: Random) -> World:
    """A study with random speeds, noise of each configuration, drift and distance from the SLO."""
    others = source.randint(2, 12)
    spread = source.choice(SPREADS)
    common = math.exp(source.uniform(math.log(0.005), math.log(0.05)))
    return World(
        speeds=(0.0, *(source.gauss(0, spread) for _ in range(others))),
        noise=tuple(min(0.05, max(0.005, common * math.exp(source.gauss(0, 0.5)))) for _ in range(others + 1)),
        latency=(-0.2, *(source.gauss(-0.1, 0.08) for _ in range(others))),
        walk=source.choice((0.0, 0.003, 0.01)),
        slope=source.choice((-0.005, 0.0, 0.005)),
        spread=spread,
    )


class Study:
    """Launches of one simulated study, in the order in which they are made."""

    def __init__(self, world: World, source: Random) -> None:
        self.world = world
        self._source = source
        self._drift = 0.0
        self.trials: list[Trial] = []

    def search(self, numbers: Sequence[int]) -> None:
        """Launches each of these configurations once."""
        for number in numbers:
            self._launch(number, TrialRole.SEARCH if number else TrialRole.DEFAULT)

    def prove(self, spec: StudySpec) -> int:
        """Repeats until the proof is complete; returns the number of launches."""
        before = len(self.trials)
        while (found := next_repeat(self.trials, spec.objectives, spec.confirm)) is not None:
            number = self.configuration(found.trial)
            self._launch(number, TrialRole.CONFIRM, found.trial.number, found.block)
        return len(self.trials) - before

    @staticmethod
    def configuration(trial: Trial) -> int:
        """Number of the configuration of a trial."""
        return int(str(trial.configuration.values.get("parallel", 0)))

    def _launch(self, number: int, role: TrialRole, of: int | None = None, block: int | None = None) -> None:
        world = self.world
        self._drift += world.slope + self._source.gauss(0, world.walk)
        crashed = number > 0 and self._source.random() < CRASHES
        noise = self._source.gauss(0, world.noise[number])
        missed = world.latency[number] + self._source.gauss(0, world.noise[number]) > 0
        verdict = Verdict(
            feasible=not missed,
            objectives=(100 * math.exp(world.speeds[number] + noise + self._drift),),
            violations=(_BOUND,) if missed else (),
            total_violation=_BOUND.relative if missed else 0.0,
        )
        self.trials.append(
            Trial(
                study="s",
                number=len(self.trials),
                role=role,
                configuration=Configuration(values={"parallel": number}) if number else DEFAULT,
                state=TrialState.FAILED if crashed else TrialState.DONE,
                repeat_of=of,
                block=block,
                verdict=None if crashed else verdict,
                failure=_CRASH if crashed else None,
            )
        )


@dataclass(frozen=True)
class Outcome:
    """What the proofs of one study claimed, and whether that is true. Ending and loss are those of the last one."""

    rule: str
    spread: float
    ending: str
    launches: int
    wrong: bool
    """Better was claimed for a winner that is not."""
    harmful: bool
    """The claimed winner is more than 2% worse than the default."""
    missed: bool
    """The interval of the best challenger does not contain its true gain."""
    lost: float
    """True gain of the best configuration over the recommended one, log, among those that meet the SLO."""


@dataclass(frozen=True)
class Rule:
    """A way to search and to prove."""

    name: str
    confirm: ConfirmSpec
    extensions: int = 0
    """How often the study is searched further after a proof."""

    @property
    def allowed(self) -> float:
        """Stated probability that a proof claims "better" wrongly."""
        return (1 - self.confirm.confidence) / 2


def parts(count: int, extensions: int) -> list[range]:
    """The numbers of the configurations that are tried before each proof; the default is the first one."""
    ends = [1 + math.ceil((count - 1) * (i + 1) / (extensions + 1)) for i in range(extensions + 1)]
    return [range(begin, end) for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


def outcome(seed: int, rule: Rule) -> Outcome:
    """Simulates one study. With one seed, all rules that search it at once start from the same search results."""
    world = random_world(Random(f"world {seed}"))
    spec = sample_spec(slos=(), objectives=(OBJECTIVE,)).replaced(confirm=rule.confirm)
    study = Study(world, Random(f"launches {seed}"))
    answers: list[Outcome] = []
    for numbers in parts(len(world.speeds), rule.extensions):
        study.search(numbers)
        launches = study.prove(spec)
        answers.append(answer(spec, study, rule.name, launches))
    return replace(
        answers[-1],
        launches=sum(one.launches for one in answers),
        wrong=any(one.wrong for one in answers),
        harmful=any(one.harmful for one in answers),
        missed=any(one.missed for one in answers),
    )


def answer(spec: StudySpec, study: Study, rule: str, launches: int) -> Outcome:
    """What the study claims after a proof of so many launches."""
    world = study.world
    found = conclude(spec, "done", study.trials)
    gain = found.gains[0] if found.gains else None
    truth = world.speeds[study.configuration(found.best)] if found.best is not None else 0.0
    better = found.ending.value == "proven_better"
    used = world.speeds[study.configuration(found.winner)] if found.winner is not None else 0.0
    possible = [s for s, late in zip(world.speeds, world.latency, strict=True) if late < -0.1]
    return Outcome(
        rule=rule,
        spread=world.spread,
        ending=found.ending.value,
        launches=launches,
        wrong=better and truth <= 0,
        harmful=better and used < math.log1p(-HARM),
        missed=gain is not None and gain.bounded and not gain.low <= math.expm1(truth) <= gain.high,
        lost=max(0.0, max(possible, default=0.0) - used),
    )


def rules(confidences: Sequence[float], extensions: int = 0) -> Iterator[Rule]:
    """The compared rules: blocks until decided at each confidence, three fixed repeats, and blocks in studies that are
    searched further."""
    adaptive = [Rule(f"at most 12 blocks, {c:g}%", ConfirmSpec(confidence=c / 100)) for c in confidences]
    yield from adaptive
    yield Rule("3 fixed repeats, 95%", ConfirmSpec(repeats=3))
    if extensions:
        times = "once" if extensions == 1 else f"{extensions} times"
        yield from (replace(r, name=f"{r.name}, searched further {times}", extensions=extensions) for r in adaptive)


def simulated(job: tuple[Sequence[int], Sequence[Rule]]) -> list[Outcome]:
    """The outcomes of some studies under all rules."""
    seeds, compared = job
    return [outcome(seed, rule) for seed in seeds for rule in compared]


def allowed(compared: Sequence[Rule], outcomes: Sequence[Outcome]) -> list[str]:
    """Whether each rule claims "better" wrongly no more often than it states."""
    lines = []
    for rule in compared:
        own = [o.wrong for o in outcomes if o.rule == rule.name]
        verdict = "within" if sum(own) <= rule.allowed * len(own) else "MORE THAN"
        lines.append(
            f"{rule.name}: better claimed wrongly in {sum(own)} of {len(own)}, {verdict} the stated {rule.allowed:.2%}"
        )
    return lines


def decidable(confidence: float) -> list[str]:
    """Largest noise between launches at which blocks typically decide an effect, by number of challengers."""
    lines = [
        "| blocks | challengers | equal within 2% | gain of 3% | 5% | 10% | 20% |",
        "|---|---|---|---|---|---|---|",
    ]
    for challengers in (1, 3):
        confirm = ConfirmSpec(confidence=confidence / 100, challengers=challengers)
        for blocks in (4, 6, 12, 24):
            level = shared_alpha(confirm, 1, challengers)
            limits = (decidable_noise(gain, blocks, level) for gain in (0.02, 0.03, 0.05, 0.1, 0.2))
            lines.append(f"| {blocks} | {challengers} | {' | '.join(f'{limit:.1%}' for limit in limits)} |")
    return lines


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The results of all rules in Markdown."""
    lines = [
        "| rule | wrong better | winner over 2% worse | interval misses | repeats, mean | 90% | lost speed |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule in dict.fromkeys(o.rule for o in outcomes):
        own = [o for o in outcomes if o.rule == rule]
        launches = sorted(o.launches for o in own)
        count = len(own)
        lines.append(
            f"| {rule} | {sum(o.wrong for o in own) / count:.2%} | {sum(o.harmful for o in own)} of {count} "
            f"| {sum(o.missed for o in own) / count:.2%} | {sum(launches) / count:.1f} | {launches[int(0.9 * count)]} "
            f"| {sum(o.lost for o in own) / count:.2%} |"
        )
    return lines


def forms(outcomes: Sequence[Outcome]) -> list[str]:
    """How often each ending occurs and how many repeats it takes, by how much the configurations differ."""
    lines = ["| rule | speeds differ by | repeats, mean | endings |", "|---|---|---|---|"]
    for rule in dict.fromkeys(o.rule for o in outcomes):
        for spread in SPREADS:
            own = [o for o in outcomes if o.rule == rule and o.spread == spread]
            if own:
                counts = Counter(o.ending for o in own).most_common()
                named = ", ".join(f"{ending} {count / len(own):.0%}" for ending, count in counts)
                mean = sum(o.launches for o in own) / len(own)
                lines.append(f"| {rule} | {spread:.0%} | {mean:.1f} | {named} |")
    return lines


def main() -> None:
    """Runs the studies and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--confidence", type=float, nargs="+", default=[95.0, 99.0])
    parser.add_argument("--extensions", type=int, default=0, help="how often some studies are searched further")
    given = parser.parse_args()
    compared = list(rules(given.confidence, given.extensions))
    seeds = range(given.seed, given.seed + given.studies)
    jobs = [(seeds[i : i + 100], compared) for i in range(0, given.studies, 100)]
    outcomes: list[Outcome] = []
    if given.jobs > 1:
        with ProcessPoolExecutor(given.jobs) as pool:
            for found in pool.map(simulated, jobs):
                outcomes += found
    else:
        for job in jobs:
            outcomes += simulated(job)
    print("\n".join([f"{given.studies} studies", "", *table(outcomes), "", *allowed(compared, outcomes), ""]))
    print("\n".join([*forms(outcomes), ""]))
    print("\n".join(decidable(given.confidence[0])))


if __name__ == "__main__":
    main()
