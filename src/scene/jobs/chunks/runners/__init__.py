"""Who runs the chunks of a job: processes on this machine, or the machines of a cluster."""
