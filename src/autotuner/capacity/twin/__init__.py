"""A model of the server that predicts which requests miss their SLO, so that a level needs fewer of them.

``model`` simulates the server, ``fit`` finds its parameters from earlier levels, ``expected_misses`` what it expects of
a load, ``control`` bets on the misses beyond that, and ``prediction`` is what a search uses of all this. Of these,
``control`` and ``model`` must stay light.
"""
