"""Ways past one machine: engines that store batches between receivers."""
