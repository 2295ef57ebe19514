"""Commands of the queue and its workers: submit, queue, worker, workers."""
