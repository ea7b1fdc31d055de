"""`countermand demo`: an agent is stopped by its user, without Countermand and with it.

Everything here is real: an agent and a queue worker in processes of their own, a sidecar, and a ledger in
which the outside world writes down what reached it. What the demo claims is counted from that ledger.
"""
