"""`shoal-server serve`: the parts of a server, started, watched and stopped together.

parts       what runs and with which command        proxy       the proxy's configuration
programs    where Flower's are
keeper      one part kept running                   schedule    when a run is due
supervisor  all of them, and the runs               systemd     the unit that keeps `serve` itself running
"""
