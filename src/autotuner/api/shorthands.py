"""Functions of the package: the methods of a client for the default store.

For another store, use the methods of ``autotuner.open(store)``.
"""

from autotuner.api.client import Autotuner

_default = Autotuner()

tune = _default.tune
tune_async = _default.tune_async
plan_study = _default.plan
load_result = _default.load
list_studies = _default.studies
stop_study = _default.stop
delete_study = _default.delete
doctor = _default.doctor
reap = _default.reap
bench = _default.bench
measure_capacity = _default.capacity
verify_capacity = _default.verify
render_manifest = _default.manifest
write_report = _default.report
export_result = _default.export
