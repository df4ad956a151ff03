"""How a gateway's processes are assembled, started, stopped and cleaned up."""
