"""`locker-gateway demo`: a whole site on this machine, and a short day played on it.

Nothing here decides or opens anything: boards and gateway are processes of their own, and every
step goes through what people and operators have: the kiosk's HTTP, the bank's hands, the command
line. What is counted is read back from the signed log.
"""
