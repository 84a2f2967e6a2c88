"""Random operations, chosen by what the model says is there, so that most of them mean something.

An operation is (function, arguments, label). It names what it is about, not what its id or lease was, so that it still
means something when others are left out of its sequence:

    ("w", n)               the workflow that the start or start_child with label n answered
    ("s", n, sequence)     a step of it
    ("lease", n, d)        its lease plus d
    ("attempt", n, s, d)   the attempt of its step plus d
    ("span", t), ("time", t), ("json", v)    an interval, a time, a value
    ("room", n)            at most n, or all where the contract does not say what happens to the others
"""

from model import ACTIVE

UNKNOWN = -1
FUNCTIONS = {  # how often each
    "start": 7, "attach": 4, "claim_step": 20, "complete": 10, "fail": 11, "complete_and_claim": 14,
    "complete_and_claim_many": 10, "start_child": 14,
    "set_tags": 1.5, "set_timeout": 3, "pause_tree": 3, "resume_tree": 4, "cancel_tree": 1.8, "request_cancel": 3,
    "cancel_many": 0.5, "resume_failed_many": 1, "drain_queue": 0.5, "resume_failed": 5, "create_queue": 2,
    "alter_queue": 1, "drop_queue": 2, "pause_queue": 1, "resume_queue": 1, "claim": 8, "heartbeat": 3, "recover": 4,
    "release": 3, "continue_as": 2.5, "history": 1, "look": 1, "emit": 4, "events": 2, "clock": 5, "sleep": 2, "await_signal": 3, "await_workflow": 3,
    "await_callback": 2, "await_any": 4, "answer": 3, "signal": 3, "signal_root": 2, "patched": 3, "fork": 3,
    "suspend": 5, "purge": 1, "create_schedule": 2, "drop_schedule": 0.5, "pause_schedule": 0.5, "resume_schedule": 1, "tick": 5}
BAD = [  # arguments that are refused whatever else is there, or make little sense
    ("name", None), ("name", None), ("name", ""), ("name", "x" * 1025), ("name", "other"), ("workflow_id", None),
    ("workflow_id", None), ("workflow_id", ("w", UNKNOWN)), ("task_id", None), ("task_id", ("w", UNKNOWN)),
    ("task_id", ("s", UNKNOWN, 1)), ("step_id", None), ("step_id", ("w", 1)), ("step_ids", None), ("step_ids", []),
    ("names", None), ("sequences", None), ("parent_id", None), ("parent_id", ("w", UNKNOWN)),
    ("executor_id", None), ("executor_id", ""), ("queue", ""), ("queue", "unknown"), ("handler", ""), ("sequence", None),
    ("sequence", -1), ("sequence", 16777214), ("sequence", 100000), ("from_sequence", None), ("from_sequence", -1), ("kind", "WORKFLOW"), ("kind", "WAIT"),
    ("kind", "TRANSACTION"), ("retry_after", ("span", -1)),
    ("max_retries", -1), ("backoff_multiplier", -1.0), ("backoff_multiplier", float("inf")), ("backoff", ("span", -1)),
    ("timeout", ("span", -1)), ("stale_after", ("span", -1)), ("max_workflows", None), ("max_workflows", -1),
    ("max_recovery_attempts", -1), ("max_concurrency", -1), ("key_concurrency", -1), ("concurrency_key", ""), ("rate_limit_window", None), ("error", None), ("retryable", None),
    ("takeover", None), ("grace", ("span", -1)), ("ids", None), ("ids", []), ("ids", [None]), ("topic", None), ("topic", ""), ("topic", "x" * 1025), ("signal", None), ("signal", ""),
    ("key", ""), ("awaited", None), ("awaited", ("w", UNKNOWN)), ("signals", []), ("signals", [None]), ("signals", [""]),
    ("sequences", []), ("sequences", [None]), ("sequences", [-1]), ("sequences", [99]), ("duration", None), ("duration", ("span", -1)),
    ("open", None), ("open", []), ("open", [None]), ("open", [("s", UNKNOWN, 1)]), ("open", [("w", UNKNOWN)]),
    ("older_than", None), ("older_than", ("span", -1)), ("status", None), ("status", ["RUNNING"]), ("status", [None]), ("after", None), ("after", -1), ("max_rows", None),
    ("max_rows", -1), ("on_parent_end", None), ("on_parent_end", "stay"), ("priority", None), ("leases", None), ("leases", []), ("lease", 99), ("attempt", 7), ("cron", "bad"), ("cron", None),
    ("overlap", "bad"), ("overlap", None), ("catch_up", "bad"), ("catch_up", None)]
EXECUTORS = ["x", "y", "z"]
QUEUES = ["q", "r"]
SPANS = [None] * 8 + [("span", n) for n in (0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5)]
VALUES = [None, ("json", 1), ("json", 1.0), ("json", "one"), ("json", {"a": 1, "b": [2, None]}), ("json", {"b": [2, None], "a": 1})]


class Generator:
    def __init__(self, rng, model):
        self.rng, self.model = rng, model
        self.length = rng.randint(20, 60)
        # some sequences do more of one thing, some of another
        self.functions = {f: n * rng.choice((0.3, 1, 1, 3)) for f, n in FUNCTIONS.items()}
        self.bad = rng.choice((0, 0.05, 0.2))
        self.deep = rng.choice((0.1, 0.5, 0.9))
        self.queued = rng.choice((0.1, 0.3, 0.9))
        self.labels = 0

    def __iter__(self):
        for queue in QUEUES:
            if self.rng.random() < 0.7:
                yield "create_queue", {**self.create_queue(), "name": queue}, None
        story = self.rng.randrange(self.length) if self.rng.random() < 0.5 else None
        for n in range(self.length):
            if n == story:
                yield from self.rng.choice((self.family, self.line, self.select, self.again, self.tried, self.mended, self.timetable, self.gently, self.naps, self.naps, self.tidy))()
            function = self.rng.choices(list(self.functions), self.functions.values())[0]
            if self.rng.random() < 0.9:  # not about what is not there
                workflows = self.model.workflows.values()
                if not workflows and function != "create_queue":
                    function = "start"
                elif (function in ("complete", "fail", "complete_and_claim", "complete_and_claim_many")
                      and not any(w.steps for w in workflows)):
                    function = "claim_step"
                elif function == "resume_failed" and not any(w.status == "FAILED" and not w.inline for w in workflows):
                    function = "fail"
                elif not any(w.status in ("RUNNING", "PAUSED") for w in workflows) and function != "continue_as":
                    function = self.rng.choice(("start", "claim"))
                elif function == "resume_tree" and not any(w.status == "PAUSED" for w in workflows):
                    function = "claim_step"
            args = getattr(self, function)()
            if self.rng.random() < self.bad:
                args.update([self.rng.choice([b for b in BAD if b[0] in args] or [next(iter(args.items()))])])
            if function in ("recover", "tick") and self.rng.random() < 0.5:
                yield "clock", self.clock(), None
            yield self.operation(function, args)
            if function == "drop_queue" and self.rng.random() < 0.7:
                yield "resume_failed", self.resume_failed(), None
            if function == "release" and self.rng.random() < 0.4:
                yield "claim", self.claim(), None

    def operation(self, function, args):
        if function not in ("start", "start_child", "continue_as", "fork"):
            return function, args, None
        self.labels += 1
        return function, args, self.labels

    # Stories that chance alone seldom tells.

    def line(self):
        """A queue with limits, and what takes and gives back their slots."""
        limits = {"max_concurrency": self.maybe(0.7, 1, 2), "rate_limit": self.maybe(0.4, 1, 3), "rate_limit_window": ("span", 1.5)}
        yield self.operation("create_queue", {"name": "r"})
        yield self.operation("alter_queue", {"name": "r", **limits})
        for n in range(4):
            yield self.operation("start", {"name": f"line{n}", "queue": "r", "priority": self.rng.choice((0, 0, 1))})
        for _ in range(4):
            yield self.operation("claim", {"queue": "r", "executor_id": "y", "max_workflows": self.rng.choice((1, 2))})
            mine = [w for w in self.model.workflows.values() if w.queue == "r" and w.status in ACTIVE]
            running = [w for w in mine if w.status == "RUNNING"]
            plot = self.rng.choice(("pause_tree", "pause_tree", "resume_tree", "complete", "release", "clock"))
            about = self.ref(self.rng.choice(running or mine or [None]))
            yield self.operation(plot, {"complete": {"task_id": about}, "clock": {"ticks": 1}, "release": {
                "executor_id": "y", "workflow_id": self.rng.choice((about, None))}}.get(plot, {"workflow_id": about}))

    def timetable(self):
        """A schedule whose runs overlap or are missed, and work that tick returns to its queue."""
        claim = ("claim", {"queue": "q", "executor_id": "y", "max_workflows": 1})
        tick = ("tick", {"max_rows": 1000})
        yield self.operation("create_queue", {"name": "q"})
        yield self.operation("create_schedule", {**self.create_schedule(), "queue": "q"})
        for _ in range(4):
            yield self.operation("clock", {"ticks": self.rng.choice((1, 1, 2, 3))})
            yield self.operation(*tick)
            yield self.operation(*claim)
            running = [w for w in self.model.workflows.values() if w.owner == "y" and w.status == "RUNNING"]
            if running and self.rng.random() < 0.6:
                w = self.rng.choice(running)
                yield self.operation(*self.rng.choice((
                    ("complete", {"task_id": ("w", w.id)}), ("attach", {"workflow_id": ("w", w.id), "takeover": True}))))
                yield self.operation(*tick)
        if self.rng.random() < 0.5:
            yield self.operation("drop_schedule", self.drop_schedule())

    def family(self):
        """A workflow with children of both kinds, and its ups and downs."""
        there = self.model.workflows
        claim = ("claim", {"queue": "q", "executor_id": "x", "max_workflows": 4})
        yield self.operation("create_queue", {"name": "q"})
        yield self.operation("start", {"name": "e", "executor_id": "x", "queue": self.maybe(0.5, "q")})
        yield self.operation(*claim)
        top = next((w for w in there.values() if w.name == "e" and w.status == "RUNNING"), None)
        if top is None:
            return
        for n in range(3):
            yield self.operation("start_child", {"parent_id": ("w", top.id), "sequence": n, "name": f"child{n}",
                                                 "queue": self.maybe(0.5, "q")})
        yield self.operation(*claim)
        for w in top.children():
            n = len(w.steps)
            yield self.operation("claim_step", {"workflow_id": ("w", w.id), "sequence": n, "name": f"step{n}", "max_retries": 1})
            if self.rng.random() < 0.5:
                yield self.operation("fail", {"task_id": ("s", w.id, n), "error": "e"})
            if self.rng.random() < 0.4:
                yield self.operation("fail", {"task_id": ("w", w.id), "error": "e"})
            elif self.rng.random() < 0.4:
                yield self.operation("pause_tree", {"workflow_id": ("w", w.id)})
        if self.rng.random() < 0.3:  # what comes next waits for its retry
            for n in (6, 7):
                yield self.operation("claim_step", {"workflow_id": ("w", top.id), "sequence": n, "name": f"step{n}",
                                                    "max_retries": 1, "backoff": ("span", 0.5)})
            yield self.operation("fail", {"task_id": ("s", top.id, 6), "error": "e"})
            yield self.operation("complete_and_claim", {"step_id": ("s", top.id, 7), "output": None, "name": "step6", "sequence": 6})
        top = ("w", top.id)
        plot = self.rng.choice(("fail", "release", "pause_tree"))
        yield self.operation(plot, {"fail": {"task_id": top, "error": "e"}, "release": {"executor_id": "x", "workflow_id": top},
                                    "pause_tree": {"workflow_id": top}}[plot])
        if plot == "fail":
            yield self.operation("resume_failed", {"workflow_id": top, "executor_id": "x", "from_sequence": self.rng.randrange(3)})
        elif plot == "pause_tree":
            yield self.operation("resume_tree", {"workflow_id": top})
        yield self.operation(*claim)

    def tried(self):
        """A workflow that fails and is tried again, after it has caught some failures and not others."""
        there = self.model.workflows
        yield self.operation("create_queue", {"name": "q"})
        yield self.operation("start", {"name": "t", "queue": "q", "max_retries": 2, "backoff": ("span", self.rng.choice((0, 0.5)))})
        for _ in range(self.rng.choice((1, 2, 3))):
            yield self.operation("claim", {"queue": "q", "executor_id": "x", "max_workflows": 4})
            top = next((w for w in there.values() if w.name == "t" and w.status == "RUNNING"), None)
            if top is None:
                return
            ref = ("w", top.id)
            for n in range(self.rng.choice((2, 3, 4))):
                n = len(top.steps) if self.rng.random() < 0.7 else n
                plot = self.rng.choice(("step", "step", "inline", "queued", "sleep"))
                if plot == "step":
                    yield self.operation("claim_step", {"workflow_id": ref, "sequence": n, "name": f"step{n}", "max_retries": self.rng.choice((0, 1))})
                elif plot == "sleep":
                    yield self.operation("sleep", {"workflow_id": ref, "sequence": n, "name": f"sleep-{n}", "duration": ("span", 1.5)})
                else:
                    yield self.operation("start_child", {
                        "parent_id": ref, "sequence": n, "name": f"child{n}", **({"queue": "q", "max_retries": self.rng.choice((0, 1)),
                        "on_parent_end": self.rng.choice(("leave", "cancel"))} if plot == "queued" else {})})
                for _ in range(2):
                    open = [n for n, s in top.steps.items() if s.status in ("RUNNING", "PENDING")]
                    if not open or self.rng.random() < 0.3:
                        continue
                    n = self.rng.choice(open)
                    child = top.steps[n].child
                    about = ("w", child.id) if child else ("s", top.id, n)
                    if child and child.status == "RUNNING" and self.rng.random() < 0.5:
                        m = len(child.steps)
                        yield self.operation("claim_step", {"workflow_id": about, "sequence": m, "name": f"step{m}"})
                        yield self.operation("fail", {"task_id": ("s", child.id, m), "error": "e"})
                    elif child and child.status == "PENDING" and child.queue:
                        yield self.operation("claim", {"queue": "q", "executor_id": "x"})
                    elif child and self.rng.random() < 0.2:
                        yield self.operation("pause_tree", {"workflow_id": about})
                    else:
                        yield self.operation("fail", {"task_id": about, "error": "e"})
            if self.rng.random() < 0.1:
                yield self.operation("drop_queue", {"name": "q"})
            yield self.operation(*self.rng.choice((("fail", {"task_id": ref, "error": "e", "lease": ("lease", top.id, 0)}),) * 5 + (
                ("complete", {"task_id": ref}),)))
            if self.rng.random() < 0.7:
                yield "clock", {"ticks": 1}, None

    def gently(self):
        """A workflow with a child of each kind is asked to end: it is told, compensates, and fails."""
        yield self.operation("create_queue", {"name": "q"})
        yield self.operation("start", {"name": "g", "executor_id": "x"})
        top = next((w for w in self.model.workflows.values() if w.name == "g" and w.status == "RUNNING"), None)
        if top is None or top.steps:
            return
        ref = ("w", top.id)
        for n in range(3):
            yield self.operation("start_child", {"parent_id": ref, "sequence": n, "name": f"child{n}", "queue": self.maybe(0.6, "q")})
        yield self.operation("claim", {"queue": "q", "executor_id": "y", "max_workflows": self.rng.choice((1, 2))})
        for w in [top, *top.children()]:
            at = {"workflow_id": ("w", w.id), "sequence": len(w.steps)}
            plot = self.rng.choice(("retry", "runs", "await_callback", "none", "none"))
            if plot == "await_callback":
                yield self.operation(plot, {**at, "name": "callback-3", "timeout": self.rng.choice(SPANS)})
            elif plot != "none":
                yield self.operation("claim_step", {**at, "name": f"step{len(w.steps)}", "max_retries": 1})
            if plot == "retry":
                yield self.operation("fail", {"task_id": ("s", w.id, at["sequence"]), "error": "e"})
        asked = [w for w in [top, *top.children()] if w.status in ACTIVE]
        yield self.operation("request_cancel", {"workflow_id": ref, "reason": self.maybe(0.5, "r"), "grace": self.maybe(0.5, ("span", 2))})
        for w in self.rng.sample(asked, len(asked)):
            ends = ("fail", {"task_id": ("w", w.id), "error": "cancelled"})
            for function, args in ((
                ("start_child", {"parent_id": ("w", w.id), "sequence": 7, "name": "child7", "queue": self.maybe(0.5, "q")}),
                ("claim_step", {"workflow_id": ("w", w.id), "sequence": 8, "name": "step8", "max_retries": 1}),
                ("fail", {"task_id": ("s", w.id, self.rng.choice((0, 3))), "error": "e"}), ends)):
                if self.rng.random() < 0.6 and not (w is top and function == "fail"):
                    yield self.operation(function, args)
            n = self.rng.randrange(3)
            yield self.operation("start_child", {"parent_id": ref, "sequence": n, "name": f"child{n}"})
        yield self.operation("await_workflow", {"workflow_id": ref, "sequence": 9, "name": "workflow-9", "awaited": self.ref(self.rng.choice(asked))})
        yield self.operation("fail", {"task_id": ref, "error": "cancelled"})
        yield self.operation("resume_failed", {"workflow_id": ref, "executor_id": "x", "from_sequence": self.rng.choice((0, 0, 1))})
        yield self.operation("start_child", {"parent_id": ref, "sequence": 7, "name": "child7", "queue": None})

    def tidy(self):
        """What a workflow waits for is purged when it has ended: while it waits, or while it has failed meanwhile."""
        purge = ("purge", {"older_than": ("span", 0), "max_workflows": 1000})
        yield self.operation("start", {"name": "gone"})
        yield self.operation("start", {"name": "stays", "executor_id": "x"})
        gone, stays = (next((w for w in self.model.workflows.values() if w.name == name and w.status == "RUNNING"), None) for name in ("gone", "stays"))
        if gone is None or stays is None or stays.steps:
            return
        ask = ("await_workflow", {"workflow_id": ("w", stays.id), "sequence": 0, "name": "workflow-0", "awaited": ("w", gone.id)})
        yield self.operation("emit", {"workflow_id": ("w", gone.id), "topic": "s"})
        yield self.operation("signal", {"workflow_id": ("w", gone.id), "name": "go"})
        yield self.operation("set_tags", {"workflow_id": ("w", gone.id), "tags": ("json", {"a": 1})})
        yield self.operation(*ask)
        yield self.operation(*self.rng.choice((("complete", {"task_id": ("w", gone.id), "output": ("json", 1)}), ("cancel_tree", {"workflow_id": ("w", gone.id)}))))
        fails = self.rng.random() < 0.5
        if fails:
            yield self.operation("fail", {"task_id": ("w", stays.id), "error": "e"})
            purge[1]["status"] = ["COMPLETED", "CANCELLED"]
        yield self.operation(*purge)
        if fails:
            yield self.operation("resume_failed", {"workflow_id": ("w", stays.id), "executor_id": "x"})
        yield self.operation(*ask)

    def naps(self):
        """A workflow that waits for some of all that there is, is suspended for it, and woken."""
        yield self.operation("create_queue", {"name": "q", **self.rng.choice(({}, {"max_concurrency": 1}, {"rate_limit": 2, "rate_limit_window": ("span", 9.5)}))})
        yield self.operation("start", {"name": "other", "executor_id": "y"})
        yield self.operation("start", {"name": "n", "executor_id": "x", "queue": self.maybe(0.6, "q"), "timeout": self.maybe(0.3, ("span", 2.5))})
        other, top = (next((w for w in self.model.workflows.values() if w.name == name and w.status in ACTIVE), None) for name in ("other", "n"))
        if top is None or top.steps:
            return
        take = ("claim", {"queue": "q", "executor_id": "x", "max_workflows": 9})
        if top.queue:
            yield self.operation(*take)
        ref = ("w", top.id)
        yield self.operation("start_child", {"parent_id": ref, "sequence": 0, "name": "child0", "timeout": self.maybe(0.2, ("span", 1.5))})
        inline = top.steps[0].child if top.steps else None
        if inline is None:
            return
        some = self.rng.sample(("sleep", "signal", "workflow", "callback", "any", "child", "child", "retry", "runs"), self.rng.choice((2, 3, 4)))
        for n, what in enumerate(some, 1):
            w = ("w", inline.id) if self.rng.random() < 0.25 and what != "child" else ref
            at = {"workflow_id": w, "sequence": n, "lease": None}
            span = ("span", self.rng.choice((0.5, 1.5, 2.5)))
            if what == "child":
                yield self.operation("start_child", {"parent_id": ref, "sequence": n, "name": f"child{n}", "queue": self.rng.choice("qr"),
                                                     "priority": 1, "max_retries": self.rng.choice((0, 0, 1))})
            elif what in ("retry", "runs"):
                yield self.operation("claim_step", {**at, "name": f"step{n}", "max_retries": 2, "backoff": span})
                if what == "retry":
                    yield self.operation("fail", {"task_id": ("s", w[1], n), "error": "e"})
            elif what == "any":
                there = list(self.model.workflows[w[1]].steps)
                yield self.operation("await_any", {**at, "name": f"any-{n}", "sequences": self.rng.sample(there, min(2, len(there))) or [n + 1],
                                                   "timeout": self.maybe(0.3, span)})
            elif what == "sleep":
                yield self.operation("sleep", {**at, "name": f"sleep-{n}", "duration": span})
            else:
                yield self.operation(f"await_{what}", {**at, "name": f"{what}-{n}", "timeout": self.maybe(0.3, span), **(
                    {"awaited": ("w", other.id if other else UNKNOWN)} if what == "workflow" else {})})
        for _ in range(2):
            open = self.open_of(top)
            if top.status == "RUNNING" and top.owner and open:
                yield self.operation("suspend", {"workflow_id": ref, "executor_id": top.owner, "lease": ("lease", top.id, 0),
                                                 "open": self.rng.sample(open, self.rng.randint(1, len(open))), "until": self.rng.choice(("any", "all"))})
            if self.rng.random() < 0.3:
                yield self.operation("pause_tree", {"workflow_id": self.rng.choice((ref, ref, ("w", inline.id)))})
            last = max((p for p in top.open if p[0].steps[p[1]].run_at is not None), key=lambda p: p[0].steps[p[1]].run_at, default=None)
            if last and top.awaits_all and self.rng.random() < 0.7:  # the time at which it comes due is another one then
                yield self.operation("answer", {"step_id": ("s", last[0].id, last[1])})
            if top.status == "PAUSED" and self.rng.random() < 0.5:
                name, payload, key = self.what_is_sent(top)
                yield self.operation("signal", {"workflow_id": ref, "name": name, "payload": payload, "key": key})
            for _ in range(self.rng.choice((1, 2, 3, 4))):
                yield self.operation(*self.event_for(top, inline, other))
            if top.deadline is not None and self.rng.random() < 0.5:
                yield "clock", {"ticks": 3}, None
            if top.status == "PAUSED" and self.rng.random() < 0.7:
                yield self.operation("resume_tree", {"workflow_id": ref})
            if self.rng.random() < 0.3:
                yield self.operation("start", {"name": "late", "queue": "q"})
            yield self.operation(*(take if top.queue else self.rng.choice((
                ("recover", {"executor_id": "x", "max_workflows": 100}), ("attach", {"workflow_id": ref, "executor_id": "x"}),
                ("attach", {"workflow_id": ref}), ("start", {"name": "n"}), ("start", {"name": "n", "executor_id": "x"})))))
            if top.deadline is not None and self.rng.random() < 0.5:
                yield self.operation(*self.rng.choice((("recover", {"executor_id": "x", "max_workflows": 100}), ("tick", {"max_rows": 1000}))))
        if self.rng.random() < 0.3:
            yield self.operation("release", {"executor_id": "x", "workflow_id": ref})
            yield self.operation(*take)

    def event_for(self, top, inline, other):
        """Something that may end what a workflow waits for."""
        open = self.open_of(top)
        _, id, n = self.rng.choice(open) if open else ("s", top.id, 0)
        s = self.model.workflows[id].steps.get(n)
        child = s and s.child
        if s and s.wait == "any" and self.rng.random() < 0.6:
            n = self.rng.choice(s.sequences)
            s = self.model.workflows[id].steps[n]
        plot = self.rng.choice(("it", "it", "it", "it", "clock", "clock", "set_timeout", "request_cancel", "cancel_tree", "other", "inline"))
        if plot == "it" and child and child.status == "RUNNING":
            plot = self.rng.choice(("complete", "fail", "cancel_tree"))
            return plot, {"cancel_tree": {"workflow_id": ("w", child.id)}, "complete": {"task_id": ("w", child.id)},
                          "fail": {"task_id": ("w", child.id), "error": "e"}}[plot]
        if plot == "it" and child:
            return "claim", {"queue": child.queue or "q", "executor_id": "z", "max_workflows": 1}
        if plot == "it" and s and s.wait == "signal":
            return "signal", {"workflow_id": ("w", id), "name": self.rng.choice(s.signals or [s.name]), "payload": ("json", 1), "key": self.maybe(0.5, "k")}
        if plot == "it" and s and s.status == "RUNNING":
            return self.rng.choice((("complete", {"task_id": ("s", id, n)}), ("fail", {"task_id": ("s", id, n), "error": "e", "retryable": False})))
        if plot == "it":
            return "answer", {"step_id": ("s", id, n), "error": self.maybe(0.3, "e")}
        if plot in ("other", "inline"):
            about = ("w", inline.id if plot == "inline" else other.id if other else UNKNOWN)
            plot = self.rng.choice(("complete", "fail", "cancel_tree", "request_cancel"))
            return plot, {"complete": {"task_id": about}, "fail": {"task_id": about, "error": "e"}}.get(plot, {"workflow_id": about})
        about = ("w", self.rng.choice((top, top, inline)).id)
        return plot, {"clock": {"ticks": self.rng.choice((1, 1, 2))}, "set_timeout": {"task_id": about, "timeout": self.rng.choice(SPANS)},
                      "request_cancel": {"workflow_id": about}, "cancel_tree": {"workflow_id": about}}[plot]

    # ---- what is there -------------------------------------------------------------------

    def maybe(self, chance, *values):
        return self.rng.choice(values) if self.rng.random() < chance else None

    def pick(self, *liked, inline=None):
        """A workflow, rather one in such a status; none is an unknown one."""
        all = list(self.model.workflows.values())
        if not all or self.rng.random() < 0.02:
            return None
        weights = [(20 if w.status in liked else 1) * (3 if inline in (None, w.inline) else 1) *
                   (0.1 if w.deadline is not None and w.deadline <= self.model.now else 1) for w in all]
        return self.rng.choices(all, weights)[0]

    def queue(self, *liked):
        """A queue, rather one that is there, or that is liked."""
        there = [q for q in liked or QUEUES if q in self.model.queues]
        return self.rng.choice(there if there and self.rng.random() < 0.9 else QUEUES)

    def ref(self, w):
        if w is None:
            return ("w", UNKNOWN)
        return ("s", w.id, self.rng.choice(list(w.steps))) if w.steps and self.rng.random() < 0.05 else ("w", w.id)

    def lease(self, w):
        return self.fence(("lease", w.id) if w else None)

    def fence(self, ref):
        if ref is None or self.rng.random() < 0.35:
            return None
        return ref + (self.rng.choices((0, -1, 1), (14, 2, 1))[0],)

    def step(self, *liked):
        """A step, rather one in such a status: its workflow, its id, its attempt."""
        all = [(w, n, s) for w in self.model.workflows.values() for n, s in w.steps.items()]
        if all and self.rng.random() < 0.97:
            weights = [(20 if s.status in liked else 2) * (1 if s.child else 4) for w, n, s in all]
            w, sequence, _ = self.rng.choices(all, weights)[0]
        else:
            w, sequence = self.pick("RUNNING"), self.rng.randrange(4)
        ref = ("s", w.id if w else UNKNOWN, sequence)
        return w, ref, self.fence(("attempt",) + ref[1:])

    def task(self, *liked):
        if self.rng.random() < 0.25:
            w = self.pick("RUNNING", inline=False)
            return {"task_id": ("w", w.id if w else UNKNOWN), "lease": self.lease(w), "attempt": None}
        w, ref, attempt = self.step(*liked)
        return {"task_id": ref, "lease": self.lease(w), "attempt": attempt}

    # ---- the arguments of each function ----------------------------------------------------

    def clock(self):
        return {"ticks": self.rng.choice((1, 1, 1, 2, 3, 6))}

    def start(self):
        queue = self.maybe(self.queued, self.queue())
        name, replace = self.rng.choice("abcd"), 8 if queue or self.rng.random() < 0.05 else 0
        paused = [w.name for w in self.model.workflows.values() if w.status == "PAUSED" and w.lease == 0 and w.parent is None and w.scheduled_by is None]
        if paused and queue and self.rng.random() < 0.3:
            name, replace = paused[0], 80
        return {"name": name, "input": self.rng.choice(VALUES), "handler": self.maybe(0.6, "h", "i"),
                "executor_id": self.maybe(0.6, *EXECUTORS), "queue": queue, "priority": self.rng.choice((0, 0, 1, -1)),
                "run_at": self.maybe(0.3, ("time", self.model.now // 1 + 1.5)) if queue or self.rng.random() < 0.02 else None,
                "timeout": self.rng.choice(SPANS), "max_recovery_attempts": self.rng.choice((100, 100, 2, 1, 0)),
                "app_version": self.maybe(0.3, "v1", "v2"), "concurrency_key": self.key(queue),
                "if_active": self.rng.choices(("attach", "refuse", "replace", "other"),
                                              (20, 1, replace, 0.1))[0],
                "if_finished": self.rng.choices(("start", "start_after_failure", "return"), (12, 2, 1))[0], "tags": self.tags(), **self.retries(queue)}

    def tags(self):
        return self.maybe(0.3, ("json", {"n": 1}), ("json", {"n": 2, "x": ["y"]}), *([("json", [])] if self.rng.random() < 0.05 else []))

    def set_tags(self):
        return {"workflow_id": self.ref(self.pick(*self.rng.choice((("RUNNING",), ("PENDING",), ("COMPLETED",), ())))), "tags": self.tags()}

    def retries(self, queue):
        """Of a whole workflow."""
        if self.rng.random() < (0.6 if queue else 0.98):
            return {}
        return {"max_retries": self.rng.choice((1, 1, 2)), "backoff": ("span", self.rng.choice((0, 0, 0.5, 1.5))),
                "backoff_multiplier": self.rng.choice((1.0, 2.0)), "max_backoff": self.maybe(0.3, ("span", 1.5))}

    def key(self, queue):
        return self.maybe(0.5, "k", "k", "l") if queue or self.rng.random() < 0.02 else None

    def attach(self):
        w = self.pick("RUNNING", "PENDING")
        return {"workflow_id": self.ref(w), "executor_id": self.maybe(0.7, *EXECUTORS), "takeover": self.rng.random() < 0.3}

    def policy(self):
        args = {"kind": self.rng.choices(("STEP", "TRANSACTION"), (9, 1))[0], "executor_id": self.maybe(0.6, *EXECUTORS),
                "timeout": self.rng.choice(SPANS)}
        if self.rng.random() < 0.5:
            args.update(max_retries=self.rng.choice((1, 2, 3)), backoff=("span", self.rng.choice((0, 0.5, 1.5))),
                        backoff_multiplier=self.rng.choice((0, 0.5, 1.0, 2.0, 3.0)),
                        max_backoff=self.maybe(0.3, ("span", 2.5), ("span", 0.5)))
        return args

    def position(self, w, what):
        """A sequence and the name that is recorded there, or will be: a step's, a child's, a wait's."""
        sequence = self.rng.randrange(5)
        fitting = [n for n, s in w.steps.items() if s.name.startswith(what)] if w else []
        waiting = [n for n in fitting if w.steps[n].status == "PENDING"]
        if fitting and self.rng.random() < 0.4:
            sequence = self.rng.choice(waiting or fitting)
        elif w and sequence in w.steps and self.rng.random() < 0.5:
            sequence = len(w.steps)
        return {"sequence": sequence, "name": f"{what}{sequence}"}

    def kind_of(self, args, w, sequence):
        if w and sequence in w.steps and w.steps[sequence].kind != "WORKFLOW" and self.rng.random() < 0.95:
            args["kind"] = w.steps[sequence].kind
        return args

    def claim_step(self):
        w = self.pick("RUNNING")
        args = {"workflow_id": self.ref(w), **self.position(w, "step"), "input": self.rng.choice(VALUES),
                "lease": self.lease(w), **self.policy()}
        s = w and w.steps.get(args["sequence"])
        if s and s.status == "RUNNING" and self.rng.random() < 0.3:  # again, by its holder
            args.update(executor_id=s.executor, lease=("lease", w.id, 0))
        return self.kind_of(args, w, args["sequence"])

    def complete(self):
        return {**self.task("RUNNING", "COMPLETED"), "output": self.rng.choice(VALUES)}

    def fail(self):
        return {**self.task("RUNNING", "FAILED"), "error": self.rng.choice(("e", "f")), "retryable": self.rng.random() < 0.85,
                "detail": self.rng.choice(VALUES), "retry_after": self.rng.choice(SPANS)}

    def continue_as(self):
        """Rather a root; often one that has gone on, with the same input or another."""
        roots = [w for w in self.model.workflows.values() if w.parent is None and w.status == "RUNNING"]
        gone = [w for w in self.model.workflows.values() if w.next]
        w = self.rng.choice(roots) if roots and self.rng.random() < 0.8 else self.pick("RUNNING")
        input = self.rng.choice(VALUES)
        if gone and self.rng.random() < 0.4:
            w = self.rng.choice(gone)
            if self.rng.random() < 0.6:
                input = None if w.next.input is None else ("json", w.next.input)
        return {"workflow_id": self.ref(w), "input": input, "lease": self.lease(w)}

    def complete_and_claim(self):
        w, ref, attempt = self.step("RUNNING")
        position = self.position(w, "step") if self.rng.random() < 0.6 else {"sequence": None, "name": f"step{ref[2] + 1}"}
        args = {"step_id": ref, "output": self.rng.choice(VALUES), **position, "lease": self.lease(w), "attempt": attempt,
                **self.policy()}
        return self.kind_of(args, w, ref[2] + 1 if position["sequence"] is None else position["sequence"])

    def complete_and_claim_many(self):
        all = [self.complete_and_claim() for _ in range(self.rng.choice((1, 2, 2, 3, 4)))]
        for one, next in zip(all, all[1:]):
            if self.rng.random() < 0.4:  # completes what the one before claims
                _, w, sequence = one["step_id"]
                claimed = sequence + 1 if one["sequence"] is None else one["sequence"]
                next.update(step_id=("s", w, claimed), lease=one["lease"], attempt=self.maybe(0.8, 1))
            elif self.rng.random() < 0.2:  # a repeated call
                next.update({n: one[n] for n in ("step_id", "output", "sequence", "name", "lease", "attempt")})
        args = {n + "s": [one[n] for one in all] for n in ("step_id", "output", "name", "sequence", "lease", "attempt")}
        args.update({n: v for n, v in all[0].items() if n + "s" not in args})
        # with none at all, a step is late as soon as it is claimed; a batch has one time
        if args["timeout"] == ("span", 0):
            args["timeout"] = None
        return args

    def start_child(self):
        w = self.pick("RUNNING")
        if self.rng.random() < self.deep:
            running = [v for v in self.model.workflows.values() if v.status == "RUNNING"]
            w = running[-1] if running else w
        position = self.position(w, "child")
        waiting = [v for v in self.model.workflows.values() if v.inline and v.status == "PENDING" and v.parent.status == "RUNNING"]
        if waiting and self.rng.random() < 0.6:
            w, position = waiting[0].parent, {"sequence": waiting[0].sequence, "name": waiting[0].name}
        queue = self.maybe(self.queued, self.queue())
        return {"parent_id": self.ref(w), **position, "input": self.rng.choice(VALUES), "handler": self.maybe(0.4, "h", "i"),
                "lease": self.lease(w), "queue": queue, "priority": self.rng.choice((0, 0, 1)),
                "timeout": self.rng.choice(SPANS), "concurrency_key": self.key(queue), **self.retries(queue),
                "tags": self.maybe(0.2, ("json", {"n": 3})),
                "on_parent_end": self.rng.choice(("leave", "cancel")) if queue or self.rng.random() < 0.02 else "leave"}

    # ---- waits ----------------------------------------------------------------------------

    def waits(self, *statuses, sort=None):
        return [(w, n, s) for w in self.model.workflows.values() for n, s in w.steps.items()
                if s.wait and s.status in statuses and sort in (None, s.wait)]

    def ask(self, sort):
        """What all of them are given; rather one that is there, of that sort."""
        w = self.pick("RUNNING")
        there = [x for x in self.waits("PENDING", "PAUSED", *self.rng.choice(((), ("COMPLETED", "FAILED")))) if x[2].wait == sort]
        if there and self.rng.random() < 0.5:
            again = [x for x in there if x[2].started_at is None]
            w, sequence, s = self.rng.choice(again if again and self.rng.random() < 0.7 else there)
            position = {"sequence": sequence, "name": s.name}
        else:
            position = self.position(w, f"{sort}-")
        return w, {"workflow_id": self.ref(w), **position, "lease": self.lease(w)}

    def sleep(self):
        w, args = self.ask("sleep")
        until = self.maybe(0.3, *(("time", self.model.now // 1 + d) for d in (-0.5, 0.5, 1.5)))
        return {**args, "duration": None if until else self.rng.choice(SPANS[8:]), "until": until}

    def await_signal(self):
        w, args = self.ask("signal")
        return {**args, "timeout": self.rng.choice(SPANS), "signals": self.maybe(0.4, ["s"], ["s", "t"], ["t", "signal-1"])}

    def await_workflow(self):
        w, args = self.ask("workflow")
        return {**args, "awaited": self.ref(self.pick(*self.rng.choice((ACTIVE, ("COMPLETED",), ("FAILED",), ("CANCELLED",))))),
                "timeout": self.rng.choice(SPANS)}

    def await_callback(self):
        w, args = self.ask("callback")
        return {**args, "timeout": self.rng.choice(SPANS)}

    def await_any(self):
        w, args = self.ask("any")
        there = [n for n in w.steps if n != args["sequence"]] if w else []
        open = [n for n in there if w.steps[n].wait and w.steps[n].status == "PENDING"]
        if open and self.rng.random() < 0.7:
            there = open
        some = self.rng.sample(there, min(len(there), self.rng.choice((1, 2, 3))))
        return {**args, "sequences": some or [self.rng.randrange(5)], "timeout": self.rng.choice(SPANS)}

    def answer(self):
        all = self.waits("PENDING", "PAUSED") if self.rng.random() < 0.7 else self.waits("COMPLETED", "FAILED", "CANCELLED")
        if all and self.rng.random() < 0.9:
            w, n, _ = self.rng.choice(all)
            ref = "s", w.id, n
        else:
            ref = self.task("PENDING")["task_id"]
        error = self.maybe(0.4, "e", "f")
        return {"step_id": ref, "output": None if error and self.rng.random() < 0.95 else self.rng.choice(VALUES), "error": error}

    def open_of(self, w):
        """The ids of what its driver may have been told is open."""
        return [("s", v.id, n) for v in [w] + list(w.below(lambda child: child.inline)) for n, s in v.steps.items()
                if (s.child is None and s.status in ("PENDING", "PAUSED")) or (s.child and s.child.queue and s.child.status in ACTIVE)]

    def suspend(self):
        all = [w for w in self.model.workflows.values() if w.status == "RUNNING" and w.owner and self.open_of(w)]
        w = self.rng.choice(all) if all and self.rng.random() < 0.8 else self.pick("RUNNING")
        open = self.open_of(w) if w else []
        if not open or self.rng.random() < 0.1:
            open = open + [self.step("COMPLETED", "FAILED", "RUNNING")[1]]
        return {"workflow_id": self.ref(w), "executor_id": w.owner if w and w.owner and self.rng.random() < 0.95 else self.rng.choice(EXECUTORS),
                "lease": ("lease", w.id, self.rng.choice((0,) * 9 + (-1,))) if w else 1,
                "open": self.rng.sample(open, self.rng.randint(1, len(open))), "until": self.rng.choice(("some", None)) if self.rng.random() < self.bad / 2 else self.rng.choice(("any", "all"))}

    def what_is_sent(self, w):
        """A name for which one waits, or will."""
        names = [name for s in (w.steps.values() if w else ()) if s.wait == "signal" and s.status in ACTIVE for name in s.signals or [s.name]]
        name = self.rng.choice(names if names and self.rng.random() < 0.8 else ["s", "t", "signal-0", "signal-1", "signal-2"])
        return name, self.rng.choice(VALUES), self.maybe(0.5, "k", "l")

    def signal(self):
        all = self.waits("PENDING", "PAUSED", sort="signal")
        w = self.rng.choice(all)[0] if all and self.rng.random() < 0.6 else self.pick(*ACTIVE)
        name, payload, key = self.what_is_sent(w)
        moved = [(v, g) for v in self.model.workflows.values() if v.next for g in v.next.signals if g.key]
        if moved and self.rng.random() < 0.3:
            w, g = self.rng.choice(moved)
            name, key = g.name, g.key
        return {"workflow_id": self.ref(w), "name": name, "payload": payload, "key": key}

    def signal_root(self):
        w = self.pick(*ACTIVE, inline=False)
        signal, payload, key = self.what_is_sent(w)
        return {"name": w.name if w and w.parent is None and w.scheduled_by is None else self.rng.choice("abcd"), "signal": signal, "payload": payload, "key": key}

    def select(self):
        """Several waits, one for the first of them, and what ends some."""
        yield self.operation("start", {"name": "s", "executor_id": "x"})
        top = next((w for w in self.model.workflows.values() if w.name == "s" and w.status == "RUNNING"), None)
        if top is None or top.steps:
            return
        yield self.operation("start", {"name": "other", "executor_id": "x"})
        other = next((w for w in self.model.workflows.values() if w.name == "other"), None)
        sorts = self.rng.sample(("sleep", "await_signal", "await_workflow", "await_callback"), 3)
        asked = []
        for n, sort in enumerate(sorts):
            what = {"sleep": "duration"}.get(sort, "timeout")
            args = {"workflow_id": ("w", top.id), "sequence": n, "name": f"{sort}-{n}", what: ("span", self.rng.choice((0.5, 1.5, 2.5)))}
            if sort == "await_workflow":
                args["awaited"] = ("w", other.id if other else UNKNOWN)
            asked.append((sort, args))
        asked.append(("await_any", {"workflow_id": ("w", top.id), "sequence": 3, "name": "any-3",
                                    "sequences": self.rng.sample((0, 1, 2), 3), "timeout": self.rng.choice(SPANS)}))
        if self.rng.random() < 0.5:
            asked.append(("await_any", {"workflow_id": ("w", top.id), "sequence": 4, "name": "any-4",
                                        "sequences": [3, self.rng.choice((0, 1, 2))], "timeout": self.rng.choice(SPANS)}))
        for function, args in asked:
            yield self.operation(function, args)
        for _ in range(3):
            plot = self.rng.choice(("signal", "answer", "complete", "complete", "fail", "cancel_tree", "clock", "pause", "last"))
            if plot == "pause":
                yield self.operation("pause_tree", {"workflow_id": ("w", top.id)})
                yield self.operation("signal", {"workflow_id": ("w", top.id), "name": "await_signal-0", "payload": None, "key": "k"})
                yield self.operation("signal_root", {"name": "s", "signal": "await_signal-0", "payload": ("json", 1), "key": "k"})
                yield self.operation("answer", {"step_id": ("s", top.id, self.rng.randrange(3)), "output": ("json", 1)})
                yield self.operation("resume_tree", {"workflow_id": ("w", top.id)})
            elif plot == "last":  # fails over the last wait, and waits again
                yield self.operation("answer", {"step_id": ("s", top.id, len(asked) - 1), "error": "e"})
                yield self.operation("fail", {"task_id": ("w", top.id), "error": "e"})
                yield self.operation("resume_failed", {"workflow_id": ("w", top.id), "executor_id": "x"})
            else:
                yield self.operation(plot, {
                    "signal": {"workflow_id": ("w", top.id), "name": f"await_signal-{self.rng.randrange(3)}", "payload": ("json", 1)},
                    "answer": {"step_id": ("s", top.id, self.rng.randrange(3)), "output": ("json", "one")},
                    "complete": {"task_id": ("w", other.id if other else UNKNOWN), "output": ("json", 1)},
                    "fail": {"task_id": ("w", other.id if other else UNKNOWN), "error": "e"},
                    "cancel_tree": {"workflow_id": ("w", other.id if other else UNKNOWN)}, "clock": {"ticks": 1}}[plot])
            yield self.operation(*self.rng.choice(asked[3:]))
        if self.rng.random() < 0.5:
            yield "clock", {"ticks": 3}, None
        for function, args in asked:
            yield self.operation(function, args)

    def again(self):
        """A wait that fails, as the last of its workflow, and waits again; or one for a child."""
        yield self.operation("start", {"name": "again", "executor_id": "x"})
        top = next((w for w in self.model.workflows.values() if w.name == "again" and w.status == "RUNNING"), None)
        if top is None or top.steps:
            return
        ref, step = ("w", top.id), ("s", top.id, 1)
        yield self.operation("start_child", {"parent_id": ref, "sequence": 0, "name": "child0", "queue": self.maybe(0.5, "q")})
        child = top.steps[0].child if top.steps else None
        wait = self.rng.choice(("sleep", "await_signal", "await_workflow", "await_callback", "await_any", "await_any"))
        args = {"workflow_id": ref, "sequence": 1, "name": "last-1", "duration" if wait == "sleep" else "timeout": ("span", self.rng.choice((0.5, 1.5)))}
        if wait == "await_any":
            args["sequences"] = [0]
        if wait == "await_workflow":
            yield self.operation("start", {"name": "other", "executor_id": "x"})
            args["awaited"] = ("w", next((w.id for w in self.model.workflows.values() if w.name == "other"), UNKNOWN))
        asks = self.operation(wait, args)
        yield asks
        for _ in range(2):
            plot = self.rng.choice(("answer", "clock", "child"))
            if plot == "child" and child:
                yield self.operation(*self.rng.choice((("cancel_tree", {"workflow_id": ("w", child.id)}), (
                    "complete", {"task_id": ("w", child.id)}), ("fail", {"task_id": ("w", child.id), "error": "e"}))))
            elif plot == "clock":
                yield "clock", {"ticks": 1}, None
            else:
                yield self.operation("answer", {"step_id": step, "error": "e"})
            yield asks
            yield self.operation("fail", {"task_id": ref, "error": "e"})
            yield self.operation("resume_failed", {"workflow_id": ref, "executor_id": "x", "from_sequence": self.rng.choice((0, 0, 1, 2))})
            yield asks
            yield asks

    def patched(self):
        w = self.pick("RUNNING", *self.rng.choice(((), ("COMPLETED", "FAILED"))))
        position = self.position(w, self.rng.choice(("patch:", "patch:", "step")))
        return {"workflow_id": self.ref(w), "sequence": position["sequence"], "name": position["name"].removeprefix("patch:"), "lease": self.lease(w)}

    def fork(self):
        w = self.pick("FAILED", "COMPLETED", "CANCELLED", *self.rng.choice(((), ACTIVE)))
        rich = [v for v in self.model.workflows.values() if len(v.steps) > 1 or any(g.sequence is not None for g in v.signals)]
        if rich and self.rng.random() < 0.7:
            w = self.rng.choice(rich)
        open = [n for n, s in (w.steps.items() if w else ()) if s.status not in ("COMPLETED", "FAILED")]
        first = min(open, default=5) if self.rng.random() < 0.8 else self.rng.randrange(6)
        queue = self.maybe(self.queued, self.queue())
        return {"workflow_id": self.ref(w), "from_sequence": first if self.rng.random() < 0.7 else self.rng.randint(0, first),
                "name": self.maybe(0.8, "f", "g", *"abcd"), "input": self.rng.choice(VALUES), "queue": queue,
                "executor_id": self.maybe(0.6, *EXECUTORS),
                "run_at": self.maybe(0.3, ("time", self.model.now // 1 + 1.5)) if queue or self.rng.random() < 0.02 else None,
                "app_version": self.maybe(0.3, "v1", "v2")}

    def mended(self):
        """A workflow with outcomes of every sort is forked, and the fork replays them and goes on."""
        yield self.operation("start", {"name": "mended", "executor_id": "x"})
        top = next((w for w in self.model.workflows.values() if w.name == "mended" and w.status == "RUNNING"), None)
        if top is None or top.steps:
            return
        ref = ("w", top.id)
        asked = [("start_child", {"parent_id": ref, "sequence": 0, "name": "child0"}),
                 ("claim_step", {"workflow_id": ref, "sequence": 1, "name": "step1"}),
                 ("await_signal", {"workflow_id": ref, "sequence": 2, "name": "s", "timeout": ("span", 1.5)}),
                 ("patched", {"workflow_id": ref, "sequence": 3, "name": "3"}),
                 ("await_any", {"workflow_id": ref, "sequence": 4, "name": "any-4", "sequences": [1, 0]}),
                 ("await_signal", {"workflow_id": ref, "sequence": 5, "name": "s"})]
        yield self.operation(*asked[0])
        child = top.steps[0].child if top.steps else None
        if child is None:
            return
        for ended in (("w", child.id), ("s", top.id, 1)):
            yield self.operation(*self.rng.choice((("complete", {"task_id": ended, "output": ("json", 1)}), ("fail", {"task_id": ended, "error": "e"}))))
            if ended[0] == "w":
                yield self.operation(*asked[1])
        for _ in range(self.rng.randrange(4)):
            yield self.operation("signal", {"workflow_id": ref, "name": "s", "payload": ("json", "one"), "key": self.maybe(0.5, "k")})
        for each in asked[2:]:
            yield self.operation(*each)
        if self.rng.random() < 0.5:
            yield self.operation("fail", {"task_id": ref, "error": "e"})
        yield self.operation("fork", {"workflow_id": ref, "from_sequence": self.rng.randint(1, 6), "name": "fork", "executor_id": "x"})
        fork = next((w for w in self.model.workflows.values() if w.name == "fork" and w.status == "RUNNING"), None)
        if fork is None:
            return
        asked = [(f, {n: ("w", fork.id) if v == ref else v for n, v in args.items()}) for f, args in asked]
        for each in asked:
            yield self.operation(*each)
        yield self.operation("fail", {"task_id": ("w", fork.id), "error": "e"})
        yield self.operation("resume_failed", {"workflow_id": ("w", fork.id), "executor_id": "x"})
        for each in asked:
            yield self.operation(*each)

    def set_timeout(self):
        return {"task_id": self.task("RUNNING", "PENDING", "PAUSED")["task_id"], "timeout": self.rng.choice(SPANS)}

    def history(self):
        return {"workflow_id": self.ref(self.pick())}

    def speaker(self, *liked):
        """Rather a workflow that has said something."""
        spoken = [w for w in self.model.workflows.values() if w.events]
        return self.rng.choice(spoken) if spoken and self.rng.random() < 0.6 else self.pick(*liked)

    def emit(self):
        w = self.speaker("RUNNING")
        return {"workflow_id": self.ref(w), "topic": self.rng.choice("st"), "payload": self.rng.choice(VALUES), "lease": self.lease(w)}

    def events(self):
        return {"workflow_id": self.ref(self.speaker()), "topic": self.maybe(0.5, "s", "t"), "after": self.rng.choice((0, 0, 0, 1, 2)),
                "max_rows": self.rng.choice((100, 100, 1, 2, 0))}

    def purge(self):
        return {"older_than": self.rng.choice([s for s in SPANS if s]), "max_workflows": self.rng.choice((1000,) * 9 + (0,)),
                **self.rng.choice(({}, {}, {"status": self.rng.sample(["COMPLETED", "FAILED", "CANCELLED"], self.rng.randint(0, 3))}))}

    def look(self):
        return {"task_id": self.task("COMPLETED", "FAILED")["task_id"]}

    def pause_tree(self):
        above = [a for w in self.model.workflows.values() if w.status == "PAUSED" for a in w.ancestors()]
        w = self.rng.choice(above) if above and self.rng.random() < 0.5 else self.pick("RUNNING", "PENDING")
        return {"workflow_id": self.ref(w)}

    def resume_tree(self):
        above = [w for w in self.model.workflows.values() if w.status == "PAUSED" and any(b.status == "PAUSED" for b in w.below())]
        w = self.rng.choice(above) if above and self.rng.random() < 0.5 else self.pick("PAUSED")
        return {"workflow_id": self.ref(w)}

    def cancel_tree(self):
        return {"workflow_id": self.ref(self.pick(*ACTIVE, *self.rng.choice(((), ("CANCELLED", "COMPLETED", "FAILED")))))}

    def request_cancel(self):
        return {"workflow_id": self.ref(self.pick(*ACTIVE, *self.rng.choice(((), (), ("CANCELLED", "COMPLETED", "FAILED"))))),
                "reason": self.maybe(0.5, "r", ""), "grace": self.maybe(0.3, ("span", 0), ("span", 1.5))}

    def cancel_many(self):
        return {"ids": [self.ref(self.pick(*ACTIVE)) for _ in range(self.rng.choice((1, 2, 3)))]}

    def resume_failed_many(self):
        return {"ids": [self.ref(self.pick("FAILED")) for _ in range(self.rng.choice((1, 2, 3)))]}

    def drain_queue(self):
        return {"name": self.queue(), "max_rows": self.rng.choice((1000, 1000, 1, 0))}

    def resume_failed(self):
        w = self.pick("FAILED", inline=False)
        above = [v for v in self.model.workflows.values() if not v.inline and v.status == "FAILED" and v.children()]
        if above and self.rng.random() < 0.3:
            w = self.rng.choice(above)
        lost = [v for v in self.model.workflows.values() if v.status == "FAILED" and v.queue not in self.model.queues and v.queue]
        if lost and self.rng.random() < 0.8:
            w = lost[0]
        return {"workflow_id": self.ref(w), "executor_id": self.maybe(0.6, *EXECUTORS),
                "from_sequence": self.rng.choice((0, 0, 1, 2))}

    def create_queue(self):
        return {"name": self.rng.choice(QUEUES), **self.rng.choice((
            {}, {}, {"max_concurrency": self.rng.choice((1, 2))}, {"key_concurrency": 1},
            {"key_concurrency": self.rng.choice((1, 2)), "max_concurrency": 3},
            {"rate_limit": self.rng.choice((1, 2)), "rate_limit_window": ("span", self.rng.choice((0.5, 1.5)))}))}

    alter_queue = create_queue

    def create_schedule(self):
        """One at a time, each of another name, so that all comes in one order."""
        there = [*self.model.schedules]
        name = there[0] if there else f"schedule {self.model.now:.6f}"
        settings = self.model.schedules[name].settings if there and self.rng.random() < 0.5 else (
            self.rng.choice((1, 1, 2)), self.rng.choice(QUEUES), self.rng.choice(("skip", "queue", "all", "cancel")),
            self.rng.choice(("none", "last", "all")), self.maybe(0.5, "h"))
        return {"name": name, "cron": ("every", settings[0]), **dict(zip(("queue", "overlap", "catch_up", "handler"), settings[1:]))}

    def drop_schedule(self):
        return {"name": self.rng.choice([*self.model.schedules] or ["unknown"])}

    pause_schedule = resume_schedule = drop_schedule

    def tick(self):
        return {"max_rows": 1000}

    def drop_queue(self):
        used = [w.queue for w in self.model.workflows.values() if w.status in ACTIVE]
        failed = [w.queue for w in self.model.workflows.values() if w.status == "FAILED" and w.queue not in used + [None]]
        return {"name": self.queue(*failed or [q for q in QUEUES if q not in used or self.rng.random() < 0.3])}

    def pause_queue(self):
        return {"name": self.queue()}

    resume_queue = pause_queue

    def claim(self):
        waiting = [w.queue for w in self.model.workflows.values() if w.status == "PENDING" and w.queue
                   for _ in range(9 if w.children() else 1)]
        return {"queue": self.queue(*waiting), "executor_id": self.rng.choice(EXECUTORS),
                "max_workflows": self.rng.choice((1, 1, 2, 3, 0)), "handlers": self.maybe(0.2, ["h"], ["h", "i"], []),
                "app_version": self.maybe(0.2, "v1", "v2")}

    def heartbeat(self):
        x = self.rng.choice(EXECUTORS)
        if self.rng.random() < 0.3:
            return {"executor_id": x, "workflow_ids": None, "leases": None}
        all = [w for w in self.model.workflows.values() if self.rng.random() < (0.8 if w.owner == x else 0.1)]
        ids = [("w", w.id) for w in all]
        leases = [("lease", w.id, self.rng.choice((0, 0, 0, -1))) for w in all]
        if self.rng.random() < 0.1:
            ids, leases = ids + [("w", UNKNOWN)], leases + [1]
        return {"executor_id": x, "workflow_ids": ids, "leases": leases}

    def recover(self):
        return {"executor_id": self.rng.choice(EXECUTORS),
                "max_workflows": self.rng.choice((100, 100, ("room", 1), ("room", 2), 0)),
                "stale_after": self.maybe(0.4, ("span", 0), ("span", 0.5), ("span", 2.5)),
                "queue": self.maybe(0.2, self.queue()), "handlers": self.maybe(0.3, ["h"], ["h", "i"], [])}

    def release(self):
        w = self.pick("RUNNING", inline=False)
        above = [v for v in self.model.workflows.values() if v.owner and v.status == "RUNNING" and v.inline_below()]
        if above and self.rng.random() < 0.5:
            w = self.rng.choice(above)
        owner = w.owner if w and w.owner and self.rng.random() < 0.8 else self.rng.choice(EXECUTORS)
        return {"executor_id": owner, "workflow_id": self.ref(w) if self.rng.random() < 0.6 else None,
                "run_at": self.maybe(0.4, ("time", self.model.now // 1 + 1.5), ("time", self.model.now // 1 - 0.5))}
