"""Many clients on one machine: simulated people, demos, benchmarks, and the building of the backbone."""
