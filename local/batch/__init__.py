"""AWS Batch: the queue, the scheduler, and an attempt of a job as a process of this machine."""
