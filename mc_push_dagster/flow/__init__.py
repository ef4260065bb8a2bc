"""The data's way, one step a file: collect, events, batch, outbox, deliver, verify; `push` walks it."""
