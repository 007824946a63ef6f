"""How much a model leaks and how easily it is fooled, from arrays and opened models: nothing here trains or opens the target.

``evidence`` is what an attacker sees, ``attacks`` turn it into scores, ``statistics`` turn scores and the true
membership into numbers with intervals, ``assess`` joins the three; ``evasion`` is the adversarial side.
"""
