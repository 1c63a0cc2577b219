"""ogw: an HTTP CONNECT gateway for machines that may not reach the internet.

The map of the house. Rooms are folders; imports point down this list only.

    cli/        what the operator types
    service/    the processes
    settings/   what the operator asked for
    tunnel/     one client's story (gevent lives here and in service/, nowhere else)
    policy/     what may pass: pure, values in, Decision out
    wire/       what the bytes say: no I/O
    report/     what happened: events, log lines
    machine/    what is underneath: files
    language/   what people read, in their language; English where nobody says which

The corridors of the commands: imports point down here, too, and those of one line do not know each other.

    cli/doctor/, cli/original/, cli/setup/    what is wrong; the original's cmdlets; the set-up
    cli/ask/, cli/edit/                       questions that change nothing; changes of the INI file
    cli/live/                                 the running gateway, asked and told
    cli/*.py                                  the hall: main calls a command by the table in commands, parser says what
                                              a command's file has, exits how it ends, completion knows all of them

The processes, and an upgrade:

    service/supervisor.py owns the door, starts and replaces workers   (what they tell each other: service/messages.py)
    service/handover/     and gives the door to its successor          (what both tell each other: handover/messages.py)

The path of a connection, accept to close:

    service/worker.py    accept   (service/listener.py; of load balancers: service/introductions.py;
                         in TLS: service/handshakes.py, and the tunnels that come of it: tunnel/over_tls.py)
    service/tunnels.py   one more: count it, hold it to the limits
    tunnel/tunnel.py     tells the story from here on, top to bottom:
      tunnel/head.py       1. read the head   (wire/connect.py; what comes instead: wire/protocols.py)
      policy/hosts.py      2. may it go?   (and later, may it go on: tunnel/grounds.py, policy/recheck.py)
      tunnel/dial.py       3. reach it   (tunnel/connector.py, resolve.py, question.py, relays.py, policy/addresses.py)
      wire/answer.py       4. answer
      tunnel/verify.py     5. let the handshake go by   (policy/handshake.py, wire/records.py, tls.py)
      tunnel/duplex.py     6. copy both ways   (tunnel/half.py: one of them; tunnel/linger.py: its last moments)
      tunnel/ledger.py     7. account for it   (report/table.py, report/log.py)
    tunnel/burst.py      what they all connect to, answer and pass on in steps 3 to 6: at the end of the loop's turn
"""

__version__ = "0.1.0"
