"""Answers queries as test/golden/table.json has them with harness/python/antkv_table.py. Argument: a file of them; antkv_tables.py is on the path."""

import json
import sys

from antkv_table import Device, find

golden = json.load(open(sys.argv[1]))
devices = {name: Device(d["cc"], d["sms"], d["sharedPerBlock"], d["l2Bytes"], d["busBits"], d["memoryMhz"]) for name, d in golden["devices"].items()}
wrong = 0
for query in golden["queries"]:
    shape = {"batch": query["batch"], "q_heads": query["qHeads"], "kv_heads": query["kvHeads"], "q_len": query["qLen"], "tokens": query["tokens"], "mode": query["mode"]}
    answer = find(query["contract"], devices[query["device"]], **shape)._asdict()
    if answer != query["answer"]:
        wrong += 1
        print(json.dumps({"query": query, "got": answer}))
print(f"{len(golden['queries'])} queries, {wrong} wrong")
