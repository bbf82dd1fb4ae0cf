"""The network bench with real processes in real time: server, sender and viewer, with a relay between them.

Kernels in containers often have no netem, so a process of this folder stands in for it (`lines.py`): one line for each
client. UDP goes through `udp_relay.py`, which forwards as a NAT does and asks the model of a line when and whether;
signalling goes through `signalling_proxy.py`, which puts the relay's address in place of everybody's candidates.
Scenarios, figures and report are those of `server/benchmark/network/`, which does the same in virtual time.
"""
