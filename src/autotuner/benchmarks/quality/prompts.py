"""Built-in prompts of a quality check: passages of different kinds, each with several tasks."""

MOST = 64
"""Prompts that there are."""

_PASSAGES = (
    "The harbor town lies between two cliffs. Every morning at five the fishing boats return, and the gulls "
    "follow them in. The market opens at six; by eight the best fish is sold, and the women who patch the nets "
    "sit down in the sun.",
    "A hash table stores each key in the bucket that a hash function selects. When two keys fall into one "
    "bucket, the table keeps both in a list, or probes for the next free slot. It grows once it is three "
    "quarters full.",
    "To make the dough, mix 500 g of flour with 320 ml of warm water, 10 g of salt and 7 g of yeast. Knead it "
    "for ten minutes, let it rise for an hour, fold it twice, and bake it at 230 degrees until the crust is dark.",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / "
    "len(values)\n\ndef variance(values):\n    center = mean(values)\n    return mean([(v - center) ** 2 for v "
    "in values])\n",
    "Train 417 leaves Lyon at 09:14 and reaches Turin at 13:02. Train 419 leaves at 11:14 and needs six minutes "
    "longer, because it also stops in Chambery. On Sundays only the second train runs, and it waits there for "
    "the bus.",
    "Photosynthesis happens in two stages. In the first one, light splits water and charges the carriers of "
    "energy. In the second one, these carriers turn carbon dioxide into sugar, which the plant stores as starch "
    "overnight.",
    "Dear Ms. Okafor, thank you for the samples. Two of the three valves passed our pressure test; the third one "
    "leaked at 4 bar. Could you send a replacement before the end of March, and tell us whether the seal was "
    "changed?",
    "The committee met on Tuesday. It approved the budget of 2.4 million by seven votes to two, put off the "
    "decision on the bridge, and asked the engineers for a second estimate that includes the cost of closing the "
    "road.",
    "Once there was a clockmaker who built a clock that ran backward. People laughed, until they noticed that "
    "whoever looked at it long enough remembered things they had forgotten, and the laughing stopped, one by one.",
    "SELECT region, SUM(amount) AS total\nFROM orders\nWHERE placed_at >= '2024-01-01'\nGROUP BY region\nHAVING "
    "SUM(amount) > 10000\nORDER BY total DESC;\n-- orders(id, region, amount, placed_at), 12 million rows\n",
    "Il mercato apre presto. I contadini portano pomodori, fagioli e formaggi freschi, e verso mezzogiorno la "
    "piazza profuma di pane. Chi arriva tardi trova solo le cassette vuote e qualche mela caduta.",
    "A body that moves at 12 m/s is slowed by 3 m/s each second. After 2 seconds it moves at 6 m/s and has "
    "covered 18 meters; after 4 seconds it stands still. The area below the line of its speed is the distance, "
    "24 meters.",
    "The patient slept badly for three weeks. Coffee was reduced to one cup in the morning, the screen was moved "
    "out of the bedroom, and a walk was added after dinner. By the tenth day she slept for six hours without a "
    "break.",
    '{"name": "sensor-7", "unit": "celsius", "readings": [21.4, 21.6, 22.1, 23.0, 22.7], "alarm": {"above": 25, '
    '"below": 5}, "location": {"floor": 3, "room": "3.14"}, "calibrated": "2025-11-02"}',
    "Das alte Radio stand auf dem Dachboden. Jonas drehte langsam am Knopf und fand zuerst nur Rauschen, dann "
    "eine Stimme, welche Zahlen vorlas: vier, acht, zwanzig. Er schrieb alles auf und suchte am Abend in einem "
    "Atlas.",
    "Glaciers carve valleys with a flat floor and steep walls, while rivers cut narrow ones. A valley that hangs "
    "above another one shows that its glacier was smaller; today a waterfall often drops from its mouth.",
)
_TASKS = (
    "{passage}\n\nIn one sentence:",
    "Question: What happens next?\n\n{passage}\n\nAnswer:",
    "{passage}\n",
    "Read this, then list the three most important points.\n\n{passage}\n\n1.",
)


def prompts(count: int) -> list[str]:
    """The first prompts, at most :data:`MOST`; each passage comes once before any comes with another task."""
    found = [task.format(passage=passage) for task in _TASKS for passage in _PASSAGES]
    return found[:count]
