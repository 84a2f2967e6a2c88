"""The state machine of durable, said as plainly as possible: what each call answers and changes.

Written from the contract, not from the C code, and for one caller at a time. No SQL, no locks, no indexes: a workflow is
an object, a tree is a loop. A method has the name, the arguments and the defaults of the function that it stands for,
returns its rows, and raises Refused before it has changed anything. A workflow's id is a number (the order of
creation), a step's is (workflow, sequence). Time is a number, too, in ticks; the test moves it.
"""

from dataclasses import dataclass, field, replace

ACTIVE = ("PENDING", "RUNNING", "PAUSED")
EXECUTOR_TIMEOUT = 1.5
MAX_SEQUENCE = 16777213
MAX_STEPS = 100000
FIRST_RUN = 1000  # the number of a run: no label is that high
MISSED = 60 / 100000  # ticks


class Refused(Exception):
    """Any of these SQLSTATEs: more than one where several hold and the contract does not say which comes first."""
    def __init__(self, *sqlstates):
        self.sqlstates = sqlstates


class Text:
    """A text of which the contract fixes only that this is in it."""
    def __init__(self, part):
        self.part = part

    def __eq__(self, other):
        return isinstance(other, str) and self.part in other

    def __repr__(self):
        return f"...{self.part}..."


@dataclass(eq=False)
class Step:
    name: str
    kind: str
    started_at: float
    recorded_at: float = None
    input: object = None
    child: "Workflow" = None
    record_of: "Workflow" = None  # of a copy in a fork: the child whose outcome it has
    own_status: str = "RUNNING"
    lease: int = 0
    attempt: int = 1
    executor: str = None
    output: object = None
    error: str = None
    detail: object = None
    retry_count: int = 0
    policy: tuple = (0, 0, 2, None)
    run_at: float = None
    deadline: float = None
    failed_at: float = None
    own_ended_at: float = None
    # of a wait: its sort and what it waits for; started_at is None while nobody has asked for it again
    wait: str = None
    timeout: float = None
    signals: list = None
    awaited: "Workflow" = None
    sequences: list = None

    @property
    def status(self):  # a step that stands for a child has the child's outcome, or none
        if self.child is None:
            return self.own_status
        return "RUNNING" if self.child.status in ACTIVE else self.child.status

    @property
    def ended_at(self):
        return self.own_ended_at if self.child is None else self.child.ended_at

    @property
    def child_id(self):
        child = self.child or self.record_of
        return child.id if child else None

    def of(self, what):
        """Its output, error or detail: of a child, once it has ended."""
        return getattr(self, what) if self.child is None else getattr(self.child, what) if self.child.status not in ACTIVE else None


@dataclass(eq=False)
class Signal:
    name: str
    key: str
    payload: object
    sent_at: float
    sequence: int = None  # of the wait that has taken it


@dataclass(eq=False)
class End:
    """What has ended a wait, and when; the signal that it takes, or the position that was first."""
    at: float
    status: str
    output: object = None
    error: object = None
    detail: object = None
    signal: Signal = None
    first: int = None
    how: str = None


@dataclass(eq=False)
class Workflow:
    id: int
    parent: "Workflow"
    sequence: int
    name: str
    input: object
    handler: str
    queue: str
    priority: int
    run_at: float
    timeout: float
    limit: int
    created_at: float
    status: str = "PENDING"
    lease: int = 0
    owner: str = None
    output: object = None
    error: str = None
    detail: object = None
    started_at: float = None
    deadline: float = None
    ended_at: float = None
    recovery_count: int = 0
    key: str = None
    version: str = None
    tags: dict = None
    forked: tuple = (None, None)  # from which workflow, and at which position
    paused_from: str = None
    scheduled_by: str = None
    scheduled_for: float = None
    pause: object = None
    # asked to end: since when, by which request, why, when it is cancelled, and whether its program has yet to be told
    asked_at: float = None
    request: object = None
    reason: str = None
    cancel_at: float = None
    untold: bool = False
    steps: dict = field(default_factory=dict)
    events: list = field(default_factory=list)  # of (topic, payload); the first is number 1
    signals: list = field(default_factory=list)  # in the order in which they were sent
    next: "Workflow" = None  # the run in which it goes on ...
    former: "Workflow" = None  # ... and that which has gone on here
    gone: bool = False  # it was purged ...
    kept: bool = False  # ... but its outcome is kept for a wait
    was_replaced: bool = False  # by start, with other arguments
    policy: tuple = None  # of its retries, None where there are none
    retry_count: int = None
    ends_with_parent: bool = False
    # suspended: since when, for which positions (workflow, sequence), whether for all of them, and how many of them had
    # ended when its run_at was set; run_at None is never
    suspended_at: float = None
    open: list = field(default_factory=list)
    awaits_all: bool = False
    ended_of_open: int = 0
    late_since: float = None  # it was taken up then, behind its deadline, which is left to its driver

    @property
    def inline(self):
        return self.parent is not None and self.queue is None

    def children(self):
        return [s.child for s in self.steps.values() if s.child]

    def caught(self, sequence):
        """Whether a later position was first recorded after this one had ended."""
        return any(n > sequence and s.recorded_at > self.steps[sequence].ended_at for n, s in self.steps.items())

    def own_steps(self, *statuses):
        return [s for s in self.steps.values() if s.child is None and s.status in statuses]

    def below(self, follow=lambda child: True):
        """Its descendants, as far down as `follow` says."""
        for child in self.children():
            if follow(child):
                yield child
                yield from child.below(follow)

    @property
    def driven(self):
        """The workflow whose owner drives this one."""
        return self.parent.driven if self.inline else self

    @property
    def waits_since(self):
        """Its place in its queue: what was suspended comes first."""
        return self.suspended_at is None, self.run_at, self.id

    def inline_below(self):
        return list(self.below(lambda child: child.inline and child.status in ACTIVE))

    def ancestors(self):
        above = self.parent
        while above:
            yield above
            above = above.parent


@dataclass
class Schedule:
    settings: tuple  # every, queue, overlap, catch_up, handler
    begun: float
    next: float
    paused: bool = False
    waiting: float = None
    skipped: int = 0


@dataclass
class Queue:
    settings: tuple  # max_concurrency, rate_limit, rate_limit_window, key_concurrency
    paused: bool = False
    window_start: float = None
    window_count: int = 0


def needed(*values):
    if None in values:
        raise Refused("22004")


def words(*values):
    if any(v is not None and not 1 <= len(v) <= 1024 for v in values):
        raise Refused("22023")


def not_negative(*values):
    if any(v is not None and not 0 <= v < float("inf") for v in values):
        raise Refused("22023")


class Model:
    def __init__(self):
        self.now = 0.0
        self.workflows = {}  # those whose id is unknown to the server are not in it
        self.gone = []  # those that were purged
        self.queues = {}
        self.schedules = {}
        self.runs = 0
        self.executors = {}
        self.versions = {}  # that they have claimed with
        self.next_id = None
        self.note = None  # what happened, for the count of what was covered
        self.also = set()  # and what happened to others
        self.seen = ()  # what the extension answered, where the contract leaves it the choice ...
        self.failed = ()  # ... and which workflows have failed there
        self.said = {}  # when each is due there

    # ---- what the functions share -------------------------------------------------------

    def workflow(self, id):
        needed(id)
        if isinstance(id, tuple):
            self.task(id)
            raise Refused("22023")
        if id not in self.workflows:
            raise Refused("WF001")
        return self.workflows[id]

    def task(self, id):
        """(workflow, None) or (workflow, step)."""
        needed(id)
        if not isinstance(id, tuple):
            return self.workflow(id), None
        workflow = self.workflows.get(id[0])
        if workflow is None or id[1] not in workflow.steps:
            raise Refused("WF001")
        return workflow, workflow.steps[id[1]]

    def known_queue(self, name):
        if name is not None and name not in self.queues:
            raise Refused("WF012")

    def allow(self, task, *statuses):
        if task.status not in statuses:
            raise Refused("WF005" if task.status == "CANCELLED" else "WF002")

    def dead(self, executor, silent_for=EXECUTOR_TIMEOUT):
        return self.executors.get(executor, float("-inf")) < self.now - silent_for

    def register(self, executor, silent_for=EXECUTOR_TIMEOUT):
        if executor is not None and self.dead(executor, silent_for):
            self.executors[executor] = self.now

    def arm(self, workflow):
        workflow.started_at, workflow.late_since = self.now, None
        workflow.deadline = None if workflow.timeout is None else self.now + workflow.timeout

    def begin(self, workflow):
        """One that was suspended goes on with its times, and is due if it is released."""
        workflow.status = "RUNNING"
        if workflow.suspended_at is None:
            self.arm(workflow)
        else:
            self.also.add("took up what has its deadline behind it" if self.is_late(workflow) else "took up what was suspended")
            self.also.update("for a " + (v.steps[n].wait or v.steps[n].kind) for v, n in workflow.open if self.has_ended(v, n))
            workflow.late_since = self.now if self.is_late(workflow) else None
            workflow.run_at = self.now if self.is_late(workflow) else workflow.started_at
        workflow.suspended_at, workflow.open = None, []

    def is_late(self, workflow):
        return workflow.deadline is not None and workflow.deadline <= self.now

    def is_due(self, workflow):
        return workflow.status == "PENDING" and workflow.run_at is not None and workflow.run_at <= self.now

    def hand_over(self, workflow, owner):
        """A new lease, for whatever its driver drives."""
        workflow.owner = owner
        workflow.lease += 1
        for w in workflow.inline_below():
            w.lease += 1
            self.also.add("fenced below" if w.parent is workflow else "fenced deep below")

    def finish(self, workflow, status, output=None, error=None, detail=None):
        workflow.status, workflow.output, workflow.error, workflow.ended_at = status, output, error, self.now
        workflow.detail = detail
        workflow.paused_from = workflow.pause = None
        self.also.update(["ended a suspension"] if workflow.suspended_at is not None else [])
        workflow.suspended_at, workflow.open = None, []

    def cancel_steps(self, workflow):
        steps = workflow.own_steps(*ACTIVE)
        for s in steps:
            s.own_status, s.own_ended_at = "CANCELLED", self.now
        return len(steps)

    def cancel(self, top):
        """All that is unfinished in it and below it; how many they are."""
        changed = 0
        for w in [top] + list(top.below()):
            if w.status in ACTIVE:
                self.finish(w, "CANCELLED", error=w.error, detail=w.detail)
                changed += 1
                self.also.update(["cancelled below"] if w is not top else [])
            changed += self.cancel_steps(w)
        return changed

    def end(self, workflow, status, output=None, error=None, detail=None):
        below = workflow.inline_below()
        self.finish(workflow, status, output, error, detail)
        for w in below:
            self.also.add("ended below" if w.parent is workflow else "ended deep below")
            if status == "COMPLETED":
                self.finish(w, "CANCELLED", error=w.error)
                self.cancel_steps(w)
            else:
                self.finish(w, "FAILED", error="parent workflow failed")
                for s in w.own_steps("PAUSED"):
                    s.own_status = "PENDING"
        for w in [workflow] + below:
            for child in w.children():
                if child.ends_with_parent and child.status in ACTIVE:
                    self.cancel(child)
                    self.also.add("cancelled with it" if w is workflow else "cancelled with what is below")

    def with_retries(self, w, queue, *policy):
        """Of a new workflow."""
        w.policy, w.retry_count = (policy, 0) if policy[0] else (None, None)

    def check_retries(self, queue, max_retries, backoff, backoff_multiplier, max_backoff):
        needed(max_retries, backoff, backoff_multiplier)
        not_negative(max_retries, backoff, backoff_multiplier, max_backoff)
        if max_retries > 0 and queue is None:
            raise Refused("22023")

    def becomes_owner(self, w, executor, takeover=False):
        if w.inline:
            return False
        if w.status == "PENDING":
            return w.queue is None and (executor is not None or takeover)
        return w.status == "RUNNING" and (takeover or (executor is not None and (
            w.owner in (None, executor) or self.dead(w.owner))))

    def take(self, w, executor):
        self.note = "took a " + w.status
        self.register(executor)
        if w.status == "PENDING":
            self.begin(w)
        self.hand_over(w, executor)

    def open_for_claims(self, w, lease):
        """The conditions of the workflow (5.1); true where it is finished."""
        if lease is not None and lease != w.lease:
            raise Refused("WF008")
        if w.status in ("PAUSED", "CANCELLED", "PENDING"):
            raise Refused({"PAUSED": "WF004", "CANCELLED": "WF005", "PENDING": "WF002"}[w.status])
        if w.status == "RUNNING" and w.deadline is not None and w.deadline <= self.now:
            raise Refused("WF006")
        return w.status != "RUNNING"

    def new_position(self, sequence):
        if sequence >= MAX_STEPS:
            raise Refused("WF015")

    def fenced(self, id, lease, attempt):
        """The task whose outcome is to be recorded: the id, the lease, the attempt, in this order."""
        w, s = self.task(id)
        if s and s.kind == "WORKFLOW":
            raise Refused("22023")
        if lease is not None and lease != w.lease:
            raise Refused("WF008")
        if s and attempt is not None and attempt != s.attempt:
            raise Refused("WF008")
        return w, s

    # ---- telling a program that it is to end --------------------------------------------

    def by_request(self, w):
        return "WF017: cancel requested" + ("" if w.reason is None else ": " + w.reason)

    def tell(self, w):
        w.untold = False
        return self.by_request(w)

    def told_at(self, w, sequence, name, kind, input, executor=None):
        """A new position by which it is told: a step, or a child that is not created."""
        s = w.steps[sequence] = Step(name, kind, self.now, self.now, input, own_status="FAILED", lease=w.lease, attempt=0,
                                     executor=executor, error=self.tell(w), own_ended_at=self.now)
        return s

    def told_by_end(self, w, child):
        """Whether it is told by this: that the child has failed, or was cancelled, which was asked to end, too."""
        return (w.untold and w.status == "RUNNING" and child.parent is w and child.asked_at is not None
                and child.status in ("FAILED", "CANCELLED") and (child.request is w.request or child.ended_at > w.asked_at))

    # ---- running a workflow -------------------------------------------------------------

    def start(self, name, input=None, handler=None, executor_id=None, queue=None, priority=0, run_at=None, timeout=None,
              max_recovery_attempts=100, app_version=None, concurrency_key=None, if_active="attach", if_finished="start", tags=None,
              max_retries=0, backoff=0, backoff_multiplier=2, max_backoff=None):
        needed(name, priority, max_recovery_attempts, if_active, if_finished)
        words(name, handler, executor_id, queue, app_version, concurrency_key)
        not_negative(timeout, max_recovery_attempts)
        if (run_at is not None or concurrency_key is not None or if_active == "replace") and queue is None:
            raise Refused("22023")
        self.check_retries(queue, max_retries, backoff, backoff_multiplier, max_backoff)
        if (if_active not in ("attach", "refuse", "replace") or if_finished not in ("start", "start_after_failure", "return")
                or not (tags is None or isinstance(tags, dict))):
            raise Refused("22023")
        created = replaced = False
        runs = [w for w in self.workflows.values() if w.parent is None and w.name == name]
        w = next((w for w in runs if w.status in ACTIVE), None)
        last = max(runs, key=lambda w: w.id, default=None)
        if w is None and last and (if_finished == "return" or (if_finished == "start_after_failure" and last.status == "COMPLETED")):
            w, self.note = last, "returned a " + last.status
        elif w is None:
            self.known_queue(queue)
            self.register(executor_id)
            w = self.create(None, None, name, input, handler, queue, priority, run_at, timeout, max_recovery_attempts)
            w.key, w.version, w.tags = concurrency_key, app_version, tags
            self.with_retries(w, queue, max_retries, backoff, backoff_multiplier, max_backoff)
            w.owner = executor_id if queue is None else None
            created, self.note = True, "created a " + w.status
        elif if_active == "refuse":
            raise Refused("WF014")
        elif if_active == "replace":
            replaced = w.queue is not None and w.lease == 0 and w.status in ("PENDING", "PAUSED")
            if replaced:
                self.known_queue(queue)
                self.register(executor_id)
                w.was_replaced = True
                w.input, w.handler, w.queue, w.priority, w.timeout, w.limit = input, handler, queue, priority, timeout, max_recovery_attempts
                w.run_at = self.now if run_at is None else run_at
                w.key, w.version, w.tags = concurrency_key, app_version, tags
                self.with_retries(w, queue, max_retries, backoff, backoff_multiplier, max_backoff)
            self.note = ("replaced a " if replaced else "did not replace a ") + w.status
        elif (self.becomes_owner(w, executor_id) or (w.status == "PENDING" and w.queue is None and w.suspended_at is None)) \
                and not self.is_of_another(w, executor_id, app_version):
            self.take(w, executor_id)
        else:
            self.note = "joined a " + w.status
        return [dict(workflow_id=w.id, created=created, status=w.status, lease=w.lease, owner=w.owner, replaced=replaced)]

    def is_of_another(self, w, executor_id, app_version=None):
        """The program that attaches is of another version than the workflow's."""
        if app_version is None and executor_id in self.executors:
            app_version = self.versions.get(executor_id)
        other = None not in (w.version, app_version) and w.version != app_version
        if other:
            self.also.add("of another version")
        return other

    def set_tags(self, workflow_id, tags):
        needed(workflow_id)
        if not (tags is None or isinstance(tags, dict)):
            raise Refused("22023")
        w = self.workflow(workflow_id)
        w.tags, self.note = tags, w.status
        return [dict(set_tags="")]

    def create(self, parent, sequence, name, input, handler, queue, priority, run_at, timeout, limit):
        w = Workflow(self.next_id, parent, sequence, name, input, handler, queue, priority,
                     self.now if run_at is None else run_at, timeout, limit, self.now)
        self.workflows[w.id] = w
        if queue is None:
            self.begin(w)
            w.lease = 1
        return w

    def attach(self, workflow_id, executor_id=None, takeover=False):
        needed(workflow_id, takeover)
        words(executor_id)
        w = self.workflow(workflow_id)
        if takeover and w.inline:
            raise Refused("WF002")
        if self.becomes_owner(w, executor_id, takeover) and (takeover or not self.is_of_another(w, executor_id)):
            self.take(w, executor_id)
        else:
            self.note = "joined " + ("an inline " if w.inline else "a ") + w.status
        return [dict(name=w.name, handler=w.handler, input=w.input, status=w.status, lease=w.lease, owner=w.owner)]

    def check_claim(self, sequence, name, kind, executor_id, max_retries, backoff, backoff_multiplier, max_backoff, timeout):
        needed(sequence, name, kind, max_retries, backoff, backoff_multiplier)
        words(name, executor_id)
        not_negative(sequence, max_retries, backoff, backoff_multiplier, max_backoff, timeout)
        if sequence > MAX_SEQUENCE or kind in ("WORKFLOW", "WAIT"):
            raise Refused("22023")

    def claim_in(self, w, sequence, name, input, kind, lease, executor_id, max_retries, backoff, backoff_multiplier,
                 max_backoff, timeout):
        finished = self.open_for_claims(w, lease)
        s = w.steps.get(sequence)

        def answer(action, attempt, output=None, error=None, run_at=None, detail=None):
            self.note = action
            return [dict(step_id=(w.id, sequence), action=action, output=output, error=error, attempt=attempt, run_at=run_at,
                         detail=detail)]

        if s:
            if (s.name, s.kind) != (name, kind):
                raise Refused("WF007")
            if s.status == "COMPLETED":
                return answer("REPLAY", s.attempt, output=s.output)
            if s.status == "FAILED":
                return answer("FAILED", s.attempt, error=s.error, detail=s.detail)
        if finished:
            raise Refused("WF011")
        if s is None:
            self.new_position(sequence)
        if s is None and w.untold:
            s = self.told_at(w, sequence, name, kind, input, executor_id)
            row = answer("FAILED", 0, error=s.error)
            self.note = "told"
            return row
        if s is None:
            s = w.steps[sequence] = Step(name, kind, self.now, self.now, input)
        elif s.status == "PENDING" and s.run_at is not None and s.run_at > self.now:
            return answer("WAIT", s.attempt, run_at=s.run_at)
        elif s.status == "RUNNING" and s.lease == w.lease and not (s.deadline is not None and s.deadline <= self.now):
            if lease is None or executor_id is None or executor_id != s.executor:
                return answer("LOCKED", s.attempt)
        else:
            s.attempt += 1
        s.own_status, s.lease, s.executor, s.started_at, s.run_at = "RUNNING", w.lease, executor_id, self.now, None
        s.policy = (max_retries, backoff, backoff_multiplier, max_backoff)
        s.deadline = None if timeout is None else self.now + timeout
        return answer("EXECUTE", s.attempt)

    def claim_step(self, workflow_id, sequence, name, input=None, kind="STEP", lease=None, executor_id=None, max_retries=0,
                   backoff=0, backoff_multiplier=2, max_backoff=None, timeout=None):
        needed(workflow_id)
        policy = (max_retries, backoff, backoff_multiplier, max_backoff, timeout)
        self.check_claim(sequence, name, kind, executor_id, *policy)
        return self.claim_in(self.workflow(workflow_id), sequence, name, input, kind, lease, executor_id, *policy)

    def emit(self, workflow_id, topic, payload=None, lease=None):
        needed(workflow_id, topic)
        words(topic)
        w = self.workflow(workflow_id)
        if self.open_for_claims(w, lease):
            raise Refused("WF011")
        w.events.append((topic, payload))
        self.note = "first" if len(w.events) == 1 else "next"
        return [dict(emit=len(w.events))]

    def events(self, workflow_id, topic=None, after=0, max_rows=100):
        needed(workflow_id, after, max_rows)
        words(topic)
        not_negative(after, max_rows)
        w = self.workflow(workflow_id)
        found = [dict(n=n, topic=t, payload=p) for n, (t, p) in enumerate(w.events, 1) if n > after and topic in (None, t)]
        self.note = "some" if found[:max_rows] else "none"
        return found[:max_rows]

    def complete(self, task_id, output=None, lease=None, attempt=None):
        needed(task_id)
        if not isinstance(task_id, tuple) and attempt is not None:
            raise Refused("22023")
        w, s = self.fenced(task_id, lease, attempt)
        if s and s.kind == "WAIT":
            return [dict(complete=self.end_by_answer(w, s, output))]
        t = s or w
        if t.status == "COMPLETED" and (output is None) == (t.output is None) and output == t.output:
            return [dict(complete=False)]
        if w is t and w.status == "PAUSED":
            raise Refused("WF004")
        self.allow(t, "RUNNING")
        if s:
            s.own_status, s.output, s.error, s.detail, s.own_ended_at = "COMPLETED", output, None, None, self.now
        else:
            self.end(w, "COMPLETED", output)
        return [dict(complete=True)]

    def continue_as(self, workflow_id, input=None, lease=None):
        w = self.workflow(workflow_id)
        if w.parent:
            raise Refused("22023")
        if lease is not None and lease != w.lease:
            raise Refused("WF008")
        n = w.next
        if n:
            if not n.was_replaced and not n.gone and (input != n.input or (input is None) != (n.input is None)):
                raise Refused("WF002")
            self.note = "again, replaced" if n.was_replaced else "again, purged" if n.gone else "again"
        else:
            if w.status == "PAUSED":
                raise Refused("WF004")
            self.allow(w, "RUNNING")
            self.end(w, "COMPLETED")
            n = w.next = self.create(None, None, w.name, input, w.handler, w.queue, w.priority, None, w.timeout, w.limit)
            self.with_retries(n, w.queue, *(w.policy or (0,)))
            n.key, n.version, n.owner = w.key, w.version, w.owner if w.queue is None else None
            n.scheduled_by, n.scheduled_for, n.tags = w.scheduled_by, w.scheduled_for, w.tags
            n.asked_at, n.request, n.reason, n.cancel_at, n.untold = w.asked_at, w.request, w.reason, w.cancel_at, w.untold
            n.former = w
            n.signals = [g for g in w.signals if g.sequence is None]
            w.signals = [g for g in w.signals if g.sequence is not None]
            self.also.update(["moved a signal"] if n.signals else [])
            self.note = n.status
        return [dict(workflow_id=n.id, status="RUNNING" if w.queue is None else "PENDING", lease=1 if w.queue is None else 0)]

    def fail(self, task_id, error, lease=None, attempt=None, retryable=True, detail=None, retry_after=None):
        needed(task_id, error, retryable)
        not_negative(retry_after)
        if not isinstance(task_id, tuple) and attempt is not None:
            raise Refused("22023")
        w, s = self.fenced(task_id, lease, attempt)
        if s and s.kind == "WAIT":
            self.end_by_answer(w, s, None, error, detail)
            self.note = "a wait"
            return [dict(status="FAILED", retry_count=0, run_at=None)]
        t = s or w
        if t.error == error and (t.status == "FAILED" or (s and s.status == "PENDING")):
            self.note = "again, " + t.status
        elif s and s.status == "FAILED" and w.asked_at is not None and s.error == self.by_request(w):
            self.note = "again, told"
        else:
            if w is t and w.status == "PAUSED":
                raise Refused("WF004")
            self.allow(t, "RUNNING")
            left = t.policy and retryable and t.retry_count < t.policy[0] and (s or w.asked_at is None)
            if left and s and w.untold and w.status in ACTIVE:
                s.own_status, s.error, s.detail, s.own_ended_at = "FAILED", self.tell(w), detail, self.now
                self.also.add("told")
            elif left:
                _, backoff, multiplier, most = t.policy
                wait = backoff * max(1, multiplier ** t.retry_count)
                wait = wait if most is None else min(wait, most)
                if w is t:
                    self.try_again(w)
                else:
                    s.own_status, s.failed_at = "PENDING", self.now
                t.retry_count += 1
                t.error, t.detail = error, detail
                t.run_at = self.now + (wait if retry_after is None else retry_after)
            elif w is t:
                if w.inline and w.asked_at is not None and w.parent.untold:
                    self.tell(w.parent)
                    self.also.add("told the parent")
                self.end(w, "FAILED", error=error, detail=detail)
            else:
                s.own_status, s.error, s.detail, s.own_ended_at = "FAILED", error, detail, self.now
            self.note = ("workflow " if w is t else "") + t.status
        return [dict(status=t.status, retry_count=t.retry_count or 0, run_at=t.run_at if t.status == "PENDING" else None)]

    def try_again(self, w):
        """Lets a RUNNING workflow wait in its queue for its next try."""
        def again(child):
            return child.inline and child.status in ACTIVE or (
                child.status == "FAILED" and not child.parent.caught(child.sequence))

        below = list(w.below(again))
        if any(v.queue is not None and v.queue not in self.queues for v in below):
            raise Refused("WF012")
        self.also.update("tried again inline" if v.inline else "tried again queued" for v in below)
        self.also.update("kept a child" for c in w.children() if c.status == "FAILED" and c not in below)
        w.status, w.owner, w.deadline = "PENDING", None, None
        w.lease += 1
        for v in below:
            self.again(v)
        for v in [w] + below:
            self.steps_again(v, lambda n: not v.caught(n))

    def again(self, w):
        w.status, w.owner, w.error, w.detail, w.ended_at, w.deadline = "PENDING", None, None, None, None, None
        w.paused_from = w.pause = None
        w.retry_count = 0 if w.policy else None
        w.lease += 1
        self.also.update(["forgot a request"] if w.asked_at is not None else [])
        w.asked_at = w.request = w.reason = w.cancel_at = None
        w.untold = False

    def steps_again(self, w, of_failed):
        """Those that were left running, and those that have failed and for which that holds."""
        chosen = [(n, s) for n, s in w.steps.items()
                  if s.kind != "WORKFLOW" and (s.status == "RUNNING" or (s.status == "FAILED" and of_failed(n)))]
        self.also.update("kept a step" for n, s in w.steps.items() if s.status == "FAILED" and not of_failed(n))
        for s in w.own_steps("PAUSED"):
            s.own_status = "PENDING"
        for n, s in chosen:
            if s.kind == "WAIT":
                if n < max(w.steps):  # the program has gone past it
                    continue
                self.also.add("a wait again")
                s.started_at = None  # its time counts from the next call; a time of day stays
            if s.timeout is not None or s.kind != "WAIT":
                s.run_at = None
            s.own_status, s.retry_count, s.error, s.detail, s.own_ended_at = "PENDING", 0, None, None, None

    def complete_and_claim(self, step_id, output, name, sequence=None, input=None, kind="STEP", lease=None, executor_id=None,
                           max_retries=0, backoff=0, backoff_multiplier=2, max_backoff=None, timeout=None, attempt=None):
        needed(step_id)
        if not isinstance(step_id, tuple):
            raise Refused("22023")
        next = step_id[1] + 1 if sequence is None else sequence
        policy = (max_retries, backoff, backoff_multiplier, max_backoff, timeout)
        self.check_claim(next, name, kind, executor_id, *policy)
        w, s = self.task(step_id)
        if s.kind == "WAIT":
            raise Refused("22023")
        self.complete(step_id, output, lease, attempt)
        try:
            return self.claim_in(self.workflow(step_id[0]), next, name, input, kind, lease, executor_id, *policy)
        except Refused as r:
            self.note = "STOP " + r.sqlstates[0]
            return [dict(step_id=(step_id[0], next), action="STOP", output=None, error=Text(r.sqlstates[0] + ": "),
                         attempt=None, run_at=None, detail=None)]

    def complete_and_claim_many(self, step_ids, outputs, names, leases=None, attempts=None, sequences=None, inputs=None,
                                **policy):
        needed(step_ids, names, *(step_ids or []), *(names or []))
        arrays = [array if array is not None else [None] * len(step_ids)
                  for array in (outputs, names, sequences, inputs, leases, attempts)]
        if any(len(array) != len(step_ids) for array in arrays):
            raise Refused("22023")
        kinds = {"max_retries": 0, "backoff": 0, "backoff_multiplier": 2, "max_backoff": None, "timeout": None, **policy}
        for name in names:
            self.check_claim(0, name, **kinds)
        rows = []
        for step_id, output, name, sequence, input, lease, attempt in zip(step_ids, *arrays):
            try:
                row = self.complete_and_claim(step_id, output, name, sequence, input, lease=lease, attempt=attempt, **policy)[0]
            except Refused as r:
                self.note = r.sqlstates[0]
                row = dict(step_id=None, action=None, output=None, error=Text(r.sqlstates[0] + ": "), attempt=None, run_at=None,
                           detail=None)
            self.also.add(self.note)
            rows.append(dict(position=len(rows) + 1, **row))
        for row in rows if "told" in self.also else ():  # whether the position by which it is told is there for an earlier element
            if row["error"] == "WF001: ":
                row["error"] = Text("WF00")
        self.note = "ok"
        return rows

    def start_child(self, parent_id, sequence, name, input=None, handler=None, lease=None, queue=None, priority=0, timeout=None,
                    concurrency_key=None, tags=None, max_retries=0, backoff=0, backoff_multiplier=2, max_backoff=None,
                    on_parent_end="leave"):
        needed(parent_id, sequence, name, priority)
        words(name, handler, queue, concurrency_key)
        needed(on_parent_end)
        self.check_retries(queue, max_retries, backoff, backoff_multiplier, max_backoff)
        if ((concurrency_key is not None or on_parent_end == "cancel") and queue is None) or on_parent_end not in ("leave", "cancel"):
            raise Refused("22023")
        not_negative(sequence, timeout)
        if sequence > MAX_SEQUENCE:
            raise Refused("22023")
        p = self.workflow(parent_id)
        finished = self.open_for_claims(p, lease)
        s = p.steps.get(sequence)
        created = False
        if s:
            if (s.name, s.kind) != (name, "WORKFLOW"):
                raise Refused("WF007")
            if finished and s.status not in ("COMPLETED", "FAILED"):
                raise Refused("WF011")
            if s.record_of:
                self.note = "found the record of a " + s.status
                return [dict(workflow_id=s.record_of.id, created=False, status=s.status, output=s.output, error=s.error, lease=0)]
            w = s.child
            if w is None:
                self.note = "found none"
                return [dict(workflow_id=None, created=False, status=s.status, output=None, error=s.error, lease=None)]
            self.note = "found a " + w.status
            if self.told_by_end(p, w):
                self.tell(p)
                self.also.add("told by a " + w.status)
            if not finished and w.inline and w.status == "PENDING":
                self.note = "started again"
                self.begin(w)
                w.lease += 1  # nobody drives those below it: they are PENDING or finished
        else:
            if finished:
                raise Refused("WF011")
            self.new_position(sequence)
            if p.untold:
                s = self.told_at(p, sequence, name, "WORKFLOW", input)
                self.note = "told"
                return [dict(workflow_id=None, created=False, status="FAILED", output=None, error=s.error, lease=None)]
            self.known_queue(queue)
            w = self.create(p, sequence, name, input, handler, queue, priority, None, timeout, p.limit)
            w.key, w.version, w.ends_with_parent = concurrency_key, p.version, on_parent_end == "cancel"
            w.tags = tags
            self.with_retries(w, queue, max_retries, backoff, backoff_multiplier, max_backoff)
            p.steps[sequence] = Step(name, "WORKFLOW", self.now, self.now, input, child=w)
            created, self.note = True, "created a " + w.status
        return [dict(workflow_id=w.id, created=created, status=w.status, output=w.output, error=w.error, lease=w.lease)]

    def patched(self, workflow_id, sequence, name, lease=None):
        needed(workflow_id, sequence, name)
        words(name)
        not_negative(sequence)
        if sequence > MAX_SEQUENCE:
            raise Refused("22023")
        w = self.workflow(workflow_id)
        finished = self.open_for_claims(w, lease)
        s = w.steps.get(sequence)
        if s:
            new_way = (s.kind, s.status, s.name) == ("STEP", "COMPLETED", "patch:" + name)
            self.note = "recorded" if new_way else "another step"
            return [dict(patched=new_way)]
        if finished:
            raise Refused("WF011")
        if sequence >= MAX_STEPS:
            raise Refused("WF015")
        w.steps[sequence] = Step("patch:" + name, "STEP", self.now, self.now, own_status="COMPLETED", lease=w.lease, own_ended_at=self.now)
        self.note = "new"
        return [dict(patched=True)]

    def history(self, workflow_id):
        w = self.workflow(workflow_id)
        return [dict(sequence=n, step_id=(w.id, n), name=s.name, kind=s.kind, wait=s.wait,
                     status=s.child.status if s.child and s.child.queue else s.status,
                     output=s.of("output"), error=s.of("error"), detail=s.of("detail"),
                     child_id=s.child_id) for n, s in sorted(w.steps.items())]

    def look(self, task_id):
        """status, input, output, error and is_completed in one."""
        w, s = self.task(task_id)
        t = w if s is None else s.child or s
        return [dict(status=(s or w).status, input=t.input, output=t.output, error=s.of("error") if s else w.error,
                     is_completed=t.status == "COMPLETED")]

    def set_timeout(self, task_id, timeout=None):
        needed(task_id)
        not_negative(timeout)
        w, s = self.fenced(task_id, None, None)
        t = s or w
        if s and s.kind == "WAIT":
            raise Refused("22023")
        if t.status not in ACTIVE:
            raise Refused("WF002")
        if w is t:
            w.timeout = timeout
        t.deadline = None
        if timeout is not None and ("RUNNING" in (t.status, w.paused_from if w is t else None) or (w is t and w.suspended_at is not None)):
            t.deadline = t.started_at + timeout
        if w is t and self.is_asleep(w.driven):
            self.set_run_at(w.driven)
            self.also.add("of what is suspended" if w is w.driven else "below what is suspended")
        self.note = t.status
        return [dict(set_timeout="")]

    # ---- waiting ------------------------------------------------------------------------

    def times(self, s):
        """Since when a wait waits, and when it ends by itself: both count from now if it begins now."""
        if s.started_at is not None:
            return s.started_at, s.run_at
        return self.now, s.run_at if s.timeout is None else self.now + s.timeout

    def end_of(self, w, s):
        """What has ended an open wait, or None: what counts is when it happened."""
        since, until = self.times(s)
        end = None
        if s.wait == "signal":
            g = next((g for g in w.signals if g.sequence is None and g.name in (s.signals or [s.name])), None)
            if g:
                output = g.payload if s.signals is None else {"signal": g.name, "payload": g.payload}
                end = End(g.sent_at, "COMPLETED", output, signal=g, how="by a signal")
        elif s.wait == "workflow" and s.awaited.gone and not s.awaited.kept:
            end = End(float("-inf"), "FAILED", error=Text("WF001: "), how="by a workflow that was purged")
        elif s.wait == "workflow" and s.awaited.status not in ACTIVE:
            a = s.awaited
            self.also.update(["of what was purged"] if a.gone else [])
            end = End(a.ended_at, a.status, a.output, a.error, a.detail, how="by a workflow " + a.status)
            if a.status == "CANCELLED":
                end.status, end.error, end.detail = "FAILED", "workflow cancelled", None
        elif s.wait == "any":
            for n in s.sequences:
                other, at = w.steps[n], w.steps[n].ended_at
                if other.kind == "WAIT" and other.status in ("PENDING", "PAUSED"):
                    ended = self.end_of(w, other)
                    at = ended and ended.at
                if at is not None and (end is None or at < end.at):
                    end = End(at, "COMPLETED", {"sequence": n}, first=n, how="by a " + (other.wait or other.kind))
        if end:
            end.at = min(end.at, self.now - 1e-7)  # what is there has happened before
        if end is None or (until is not None and end.at >= until):
            if until is None or until > self.now:
                return None
            end = End(until, "COMPLETED", how="by its time") if s.wait == "sleep" else End(
                until, "FAILED", error=Text("WF013: "), how="timed out")
        end.at = max(end.at, since)
        return end

    def record_end(self, w, s, end):
        if end.first is not None and w.steps[end.first].status in ("PENDING", "PAUSED") and w.steps[end.first].kind == "WAIT":
            self.record_end(w, w.steps[end.first], self.end_of(w, w.steps[end.first]))
            self.also.add("ended another")
        s.started_at, s.run_at = self.times(s)
        s.own_status, s.output, s.error, s.detail, s.own_ended_at = end.status, end.output, end.error, end.detail, end.at
        if end.signal:
            end.signal.sequence = next(n for n, step in w.steps.items() if step is s)

    def ask(self, w, sequence, lease, wanted, check=lambda: None):
        """The wait at a position, found or created, and its outcome."""
        finished = self.open_for_claims(w, lease)
        s = w.steps.get(sequence)

        def answer(action, note):
            self.note = note
            return [dict(step_id=(w.id, sequence), action=action, output=s.output, error=s.error, attempt=1,
                         run_at=s.run_at if action == "WAIT" else None, detail=s.detail)]

        if s:
            if (s.name, s.kind, s.wait) != (wanted.name, "WAIT", wanted.wait):
                raise Refused("WF007")
            if s.status in ("COMPLETED", "FAILED"):
                return answer("REPLAY" if s.status == "COMPLETED" else "FAILED", "again, " + s.status)
        if finished:
            raise Refused("WF011")
        new = s is None
        if new:
            self.new_position(sequence)
            check()
            s = wanted
        end = self.end_of(w, s)
        if new and w.untold:
            by_child = (end and end.how.startswith("by a workflow") and end.status == "FAILED"
                        and self.told_by_end(w, s.awaited))
            error = self.tell(w)
            if by_child:
                self.also.add("told by a child")
            else:
                end = End(self.now, "FAILED", error=error, how="told")
        again = not new and s.started_at is None
        w.steps[sequence] = s
        s.recorded_at = self.now if new else s.recorded_at
        if end:
            self.record_end(w, s, end)
            return answer("REPLAY" if s.status == "COMPLETED" else "FAILED", ("at once " if new else "") + end.how)
        s.started_at, s.run_at = self.times(s)
        return answer("WAIT", "begun" if new else "begun again" if again else "open")

    def new_wait(self, workflow_id, sequence, name, wait, timeout, **what):
        needed(workflow_id, sequence, name)
        words(name)
        not_negative(sequence, timeout)
        if sequence > MAX_SEQUENCE:
            raise Refused("22023")
        return Step(name, "WAIT", None, own_status="PENDING", wait=wait, timeout=timeout, **what)

    def sleep(self, workflow_id, sequence, name, duration=None, until=None, lease=None):
        s = self.new_wait(workflow_id, sequence, name, "sleep", duration, run_at=until)
        if (duration is None) == (until is None):
            raise Refused("22023")
        return self.ask(self.workflow(workflow_id), sequence, lease, s)

    def await_signal(self, workflow_id, sequence, name, timeout=None, lease=None, signals=None):
        s = self.new_wait(workflow_id, sequence, name, "signal", timeout, signals=signals)
        if signals is not None:
            if not signals:
                raise Refused("22023")
            needed(*signals)
            words(*signals)
        return self.ask(self.workflow(workflow_id), sequence, lease, s)

    def await_workflow(self, workflow_id, sequence, name, awaited, timeout=None, lease=None):
        needed(awaited)
        s = self.new_wait(workflow_id, sequence, name, "workflow", timeout)
        w = self.workflow(workflow_id)

        def check():
            s.awaited = a = self.workflow(awaited)
            if a is w or a in w.ancestors() or a in w.below(lambda child: child.inline):
                raise Refused("22023")

        return self.ask(w, sequence, lease, s, check)

    def await_callback(self, workflow_id, sequence, name, timeout=None, lease=None):
        s = self.new_wait(workflow_id, sequence, name, "callback", timeout)
        return self.ask(self.workflow(workflow_id), sequence, lease, s)

    def await_any(self, workflow_id, sequence, name, sequences, timeout=None, lease=None):
        needed(sequences, *(sequences or []))
        s = self.new_wait(workflow_id, sequence, name, "any", timeout, sequences=sequences)
        not_negative(*sequences)
        if not sequences or sequence in sequences:
            raise Refused("22023")
        w = self.workflow(workflow_id)

        def check():
            if any(n not in w.steps for n in sequences):
                raise Refused("22023")

        return self.ask(w, sequence, lease, s, check)

    def end_by_answer(self, w, s, output=None, error=None, detail=None):
        """Whether this ends the wait; not if it has that outcome already."""
        if error is None and s.status == "COMPLETED" and (output is None) == (s.output is None) and output == s.output:
            return False
        if error is not None and s.status == "FAILED" and s.error == error:
            return False
        self.allow(s, "PENDING", "PAUSED")
        refused = ["WF011"] if w.status in ("COMPLETED", "FAILED") else []
        if s.run_at is not None and s.run_at <= self.now:
            refused.append("WF002")
        if refused:
            raise Refused(*refused)
        self.also.add("under a " + w.status)
        self.also.add("of sort " + s.wait)
        s.own_status, s.output, s.error, s.detail, s.own_ended_at = (
            "COMPLETED" if error is None else "FAILED", output, error, detail, self.now)
        return True

    def answer(self, step_id, output=None, error=None):
        needed(step_id)
        if not isinstance(step_id, tuple) or (output is not None and error is not None):
            raise Refused("22023")
        w, s = self.fenced(step_id, None, None)
        if s.kind != "WAIT":
            raise Refused("22023")
        done = self.end_by_answer(w, s, output, error)
        self.note = f"{done}, {s.status}"
        return [dict(answer=done)]

    def send(self, w, name, payload, key):
        run = w
        while run and key is not None:  # what was not taken has gone to the next run
            if any((g.name, g.key) == (name, key) for g in run.signals):
                self.note = "sent before" if run is w else "sent before, and went on"
                return False
            run = run.next
        if w.status in ("COMPLETED", "FAILED"):
            raise Refused("WF011")
        self.allow(w, *ACTIVE)
        w.signals.append(Signal(name, key, payload, self.now))
        self.note = "to a " + w.status
        return True

    def signal(self, workflow_id, name, payload=None, key=None):
        needed(workflow_id, name)
        words(name, key)
        return [dict(signal=self.send(self.workflow(workflow_id), name, payload, key))]

    def signal_root(self, name, signal, payload=None, key=None):
        needed(name, signal)
        words(name, signal, key)
        w = next((w for w in self.workflows.values() if w.parent is None and w.name == name and w.status in ACTIVE), None)
        if w is None:
            raise Refused("WF001")
        return [dict(signal_root=self.send(w, signal, payload, key))]

    # ---- giving the executor free ---------------------------------------------------------

    def suspend(self, workflow_id, executor_id, lease, open, until="any"):
        bad = []
        for check, *values in ((needed, workflow_id, executor_id, lease, open, until, *(open or [])), (words, executor_id)):
            try:
                check(*values)
            except Refused as r:
                bad += r.sqlstates
        if until not in ("any", "all", None) or open == [] or any(id is not None and not isinstance(id, tuple) for id in open or []):
            bad.append("22023")
        if bad:
            raise Refused(*bad)
        w = self.workflow(workflow_id)
        if w.inline:
            raise Refused("22023")
        if lease != w.lease:
            raise Refused("WF008")
        if w.status != "RUNNING":
            raise Refused({"PAUSED": "WF004", "CANCELLED": "WF005", "PENDING": "WF002"}.get(w.status, "WF011"))
        if executor_id != w.owner:
            raise Refused("WF008")
        positions = sorted(set(open))
        for id, n in positions:
            v = self.workflows.get(id)
            s = v and v.steps.get(n)
            child = s and (s.child or s.record_of)
            if s is None or v.driven is not w or (child and child.inline) or (s.kind != "WORKFLOW" and s.status == "RUNNING"):
                raise Refused("22023")
        w.open, w.awaits_all = [(self.workflows[id], n) for id, n in positions], until == "all"
        w.open = [p for p in w.open if not self.has_ended(*p)]
        ended = len(w.open) == 0 if w.awaits_all else len(w.open) < len(positions)
        if ended or self.comes_due_at(w) <= self.now:
            w.open = []
            self.note = "RUNNING: " + ("ended" if ended else "late")
            return [dict(status="RUNNING", run_at=None)]
        w.status, w.suspended_at = "PENDING", self.now
        self.set_run_at(w)
        self.hand_over(w, None)
        self.note = "PENDING, " + until
        self.also.add("without a time" if w.run_at is None else "until a deadline" if w.run_at in self.deadlines(w) else "until a time")
        self.also.update("for a " + (v.steps[n].wait or v.steps[n].kind) + (" below" if v is not w else "") for v, n in w.open)
        return [dict(status="PENDING", run_at=w.run_at)]

    def has_ended(self, w, sequence):
        """Whether this has ended, or come due, for who waits for it."""
        s = w.steps[sequence]
        if s.ended_at is not None or w.status not in ACTIVE:  # an inline one that is finished has taken them with it
            return True
        if s.kind == "WAIT":
            return self.end_of(w, s) is not None
        return s.child is None and s.status in ("PENDING", "PAUSED") and (s.run_at is None or s.run_at <= self.now)

    def ends_at(self, w, sequence):
        """When it ends by itself: never, where there is no such time."""
        s = w.steps[sequence]
        at = self.times(s)[1] if s.kind == "WAIT" else s.run_at if s.child is None else None
        at = float("inf") if at is None else at
        if s.wait == "any":
            others = [n for n in s.sequences if w.steps[n].kind == "WAIT" and w.steps[n].ended_at is None]
            at = min([at] + [self.ends_at(w, n) for n in others])
        return at

    def wakes(self, w, sequence):
        """By what it ends: the end of a step or a workflow, or a signal of that name to a workflow."""
        s = w.steps[sequence]
        yield (w.id, sequence), ""
        if s.wait == "workflow":
            yield s.awaited.id, ""
        for name in (s.signals or [s.name]) if s.wait == "signal" else ():
            yield w.id, name
        for n in s.sequences if s.wait == "any" and s.ended_at is None else ():
            yield from self.wakes(w, n)

    def deadlines(self, w):
        return [v.deadline for v in [w] + w.inline_below() if v.deadline is not None]

    def comes_due_at(self, w):
        """When what it waits for has happened, if nothing else does."""
        open = [p for p in w.open if not self.has_ended(*p)]
        if not open if w.awaits_all else len(open) < len(w.open):
            return self.now
        return min([(max if w.awaits_all else min)(self.ends_at(*p) for p in open)] + self.deadlines(w))

    def is_asleep(self, w):
        return w.suspended_at is not None and (w.run_at is None or w.run_at > self.now)

    def set_run_at(self, w):
        at = self.comes_due_at(w)
        # that an inline one has finished before its deadline is no event: a wake-up that nobody needs is allowed
        spare = [v.deadline for v in w.below(lambda child: child.inline) if v.deadline is not None and v.status not in ACTIVE and v.deadline < at]
        at = next((t for t in spare if w.id in self.said and abs(self.said[w.id] - t) < 0.2), at)
        w.run_at = None if at == float("inf") else at
        w.ended_of_open = sum(self.has_ended(*p) for p in w.open)

    def wake(self):
        """After each call: what has ended makes those due that wait for it.  None that is due waits again."""
        for w in self.workflows.values():
            if self.is_asleep(w) and sum(self.has_ended(*p) for p in w.open) != w.ended_of_open:
                before = w.run_at
                self.set_run_at(w)
                how = "woke " if not self.is_asleep(w) else "left asleep " if before == w.run_at else "moved "
                self.also.add(how + ("who waits for all" if w.awaits_all else "who waits for any"))
                self.also.update([how + "a PAUSED"] if w.status == "PAUSED" else [])

    # ---- control ------------------------------------------------------------------------

    def fork(self, workflow_id, from_sequence, name=None, input=None, queue=None, executor_id=None, run_at=None, app_version=None):
        needed(workflow_id, from_sequence)
        words(name, queue, executor_id, app_version)
        not_negative(from_sequence)
        if run_at is not None and queue is None:
            raise Refused("22023")
        o = self.workflow(workflow_id)
        name = o.name if name is None else name
        before = {n: s for n, s in o.steps.items() if n < from_sequence}
        refused = []
        if any(w.parent is None and (w.name is name or w.name == name) and w.status in ACTIVE for w in self.workflows.values()):
            refused.append("WF014")
        if queue is not None and queue not in self.queues:
            refused.append("WF012")
        if any(s.status not in ("COMPLETED", "FAILED") for s in before.values()):
            refused.append("WF002")
        if refused:
            raise Refused(*refused)
        self.register(executor_id)
        w = self.create(None, None, name, o.input if input is None else input, o.handler, queue, o.priority, run_at, o.timeout, o.limit)
        w.key, w.version, w.tags, w.forked = o.key if queue else None, app_version, o.tags, (o.id, from_sequence)
        w.scheduled_by, w.scheduled_for = o.scheduled_by, o.scheduled_for
        if queue and o.policy:
            self.with_retries(w, queue, *o.policy)
        w.owner = executor_id if queue is None else None
        for n, s in before.items():
            w.steps[n] = replace(s, lease=0) if s.child is None else replace(
                s, lease=0, child=None, record_of=s.child, own_status=s.status, own_ended_at=s.ended_at,
                output=s.child.output, error=s.child.error, detail=s.child.detail)
            self.also.add(f"copied a {s.kind} {s.status}")
        w.signals = [replace(g, sequence=None) for g in o.signals if g.sequence is None or g.sequence >= from_sequence]
        self.also.update("a signal that was taken" for g in o.signals if g.sequence is not None and g.sequence >= from_sequence)
        self.also.add("of a " + o.status)
        self.note = "made a " + w.status
        return [dict(workflow_id=w.id, status=w.status, lease=w.lease)]

    def pause_tree(self, workflow_id):
        top = self.workflow(workflow_id)
        self.allow(top, "PENDING", "RUNNING")
        changed, pause = 0, object()
        for w in [top] + list(top.below()):
            if w.status in ("PENDING", "RUNNING"):
                w.paused_from, w.pause, w.status = w.status, pause, "PAUSED"
                steps = w.own_steps("PENDING")
                for s in steps:
                    s.own_status = "PAUSED"
                changed += 1 + len(steps)
                self.also.update(["paused below"] if w is not top else [], ["paused a step"] if steps else [])
            elif w.status == "PAUSED":
                self.also.add("left a pause")
        return [dict(pause_tree=changed)]

    def resume_tree(self, workflow_id):
        top = self.workflow(workflow_id)
        self.allow(top, "PAUSED")
        if any(w.status == "PAUSED" for w in top.ancestors()):
            raise Refused("WF002")
        changed, pause = 0, top.pause
        for w in [top] + list(top.below()):
            if w.status == "PAUSED" and w.pause is pause:
                w.status, w.paused_from, w.pause = w.paused_from, None, None
                steps = w.own_steps("PAUSED")
                for s in steps:
                    s.own_status = "PENDING"
                changed += 1 + len(steps)
                self.also.update(["resumed below"] if w is not top else [], ["resumed a step"] if steps else [])
            elif w.status == "PAUSED":
                self.also.add("left a pause")
        return [dict(resume_tree=changed)]

    def cancel_tree(self, workflow_id):
        top = self.workflow(workflow_id)
        self.allow(top, *ACTIVE)
        return [dict(cancel_tree=self.cancel(top))]

    def cancel_many(self, ids):
        return self.many(ids, lambda id: dict(changed=self.cancel_tree(id)[0]["cancel_tree"]), "changed")

    def many(self, ids, call, *columns):
        """A row for each, or its error."""
        needed(ids, *(ids or []))
        rows = []
        for id in ids:
            try:
                row = dict(call(id), error=None)
                self.also.add("done")
            except Refused as r:
                row = dict({c: None for c in columns}, error=Text(r.sqlstates[0]))
                self.also.add(r.sqlstates[0])
            rows.append(dict(position=len(rows) + 1, workflow_id=id, **row))
        self.note = "ok"
        return rows

    def resume_failed_many(self, ids):
        return self.many(ids, lambda id: self.resume_failed(id)[0], "handler", "input", "status", "lease")

    def request_cancel(self, workflow_id, reason=None, grace=None):
        needed(workflow_id)
        not_negative(grace)
        top = self.workflow(workflow_id)
        self.allow(top, *ACTIVE)
        cancel_at = None if grace is None else self.now + grace
        if top.asked_at is not None:
            for w in [top] + list(top.below()):
                if w.asked_at is not None and w.status in ACTIVE:
                    w.cancel_at = cancel_at
            self.note = "again"
            return [dict(request_cancel=0)]

        def reached(w):
            """What was asked before is left alone, with all below it."""
            if w.asked_at is None:
                yield w
                for child in w.children():
                    yield from reached(child)

        request, asked, count = object(), [], 0
        # what has ended before counts, not what the request itself brings about
        open = [(w, s) for w in reached(top) if w.status in ACTIVE and w.lease > 0
                for s in w.own_steps("PENDING", "PAUSED") if s.kind != "WAIT" or self.end_of(w, s) is None]
        for w in list(reached(top)):
            if w.status not in ACTIVE:
                continue
            w.asked_at, w.request, w.reason, w.cancel_at = self.now, request, reason, cancel_at
            count += 1
            if w.lease == 0:
                self.finish(w, "CANCELLED")
                self.also.add("cancelled")
                continue
            w.untold = True
            asked.append(w)
            self.also.update(["asked a " + w.status], ["asked below"] if w is not top else [])
            if "PENDING" in (w.status, w.paused_from) and not w.inline:
                self.be_due(w)
        if top.inline and top.driven.suspended_at is not None:  # who drives that is told
            self.be_due(top.driven)
        for w in asked:
            self.also.update(["left a wait"] if len([s for v, s in open if v is w]) < len(w.own_steps("PENDING", "PAUSED")) else [])
        for w, s in open:
            s.started_at = self.now if s.started_at is None else s.started_at
            s.run_at = s.run_at if s.kind == "WAIT" else None
            s.own_status, s.error, s.detail, s.own_ended_at = "FAILED", self.tell(w), None, self.now
            self.also.add("ended a " + (s.wait or s.kind))
        self.note = top.status
        return [dict(request_cancel=count)]

    def be_due(self, w):
        self.also.update(["woke who is suspended"] if self.is_asleep(w) else [])
        w.run_at = self.now if w.run_at is None else min(w.run_at, self.now)

    def drain_queue(self, name, max_rows=1000):
        needed(name, max_rows)
        words(name)
        not_negative(max_rows)
        self.known_queue(name)
        waiting = sorted((w for w in self.workflows.values() if w.queue == name and w.status == "PENDING" and w.lease == 0),
                         key=lambda w: (w.key or "", -w.priority, w.run_at, w.id))[:max_rows]
        for w in waiting:
            self.finish(w, "CANCELLED")
        self.note = "some" if waiting else "none"
        return [dict(drain_queue=len(waiting))]

    def abandoned(self, w):
        """Cancelled because its parent completed."""
        return w.inline and w.status == "CANCELLED" and (w.parent.status == "COMPLETED" or self.abandoned(w.parent))

    def resume_failed(self, workflow_id, executor_id=None, from_sequence=0):
        needed(workflow_id, from_sequence)
        words(executor_id)
        not_negative(from_sequence)
        top = self.workflow(workflow_id)
        if top.status == "FAILED":
            again = [w for w in top.below(lambda child: child.status == "FAILED" and (
                child.parent is not top or child.sequence >= from_sequence))]
        refused = []
        if top.inline:
            refused.append("WF002")
        if top.status == "CANCELLED":
            refused.append("WF005")
        elif top.status != "FAILED":
            refused.append("WF002")
        else:
            if any(w.status == "PAUSED" or (w.status == "CANCELLED" and not self.abandoned(w)) for w in top.ancestors()):
                refused.append("WF002")
            if any(w.queue is not None and w.queue not in self.queues for w in [top] + again):
                refused.append("WF012")
            if top.recovery_count >= top.limit:
                refused.append("WF009")
            if top.parent is None and any(w.parent is None and w.name == top.name and w.status in ACTIVE
                                          for w in self.workflows.values()):
                refused.append("WF002")
        if refused:
            raise Refused(*(["WF002"] if top.inline and "WF005" in refused else refused))
        self.register(executor_id)
        top.recovery_count += 1
        for w in [top] + again:
            self.again(w)
            self.steps_again(w, lambda n: w is not top or n >= from_sequence)
            for n in [n for n, s in w.steps.items() if s.kind == "WORKFLOW" and s.child is None and s.record_of is None]:
                if w is not top or n >= from_sequence:
                    del w.steps[n]
                    self.also.add("forgot a child")
        self.also.update("again inline" if w.inline else "again queued" for w in again)
        self.also.update("kept a child" for c in top.children() if c.status == "FAILED")
        top.started_at = self.now
        if top.queue is None:
            self.begin(top)
            top.owner = executor_id
        self.note = top.status
        return [dict(handler=top.handler, input=top.input, status=top.status, lease=top.lease)]

    # ---- retention --------------------------------------------------------------------------

    def purge(self, older_than, max_workflows=1000, status=("COMPLETED", "FAILED", "CANCELLED")):
        """Trees that are finished, in which nothing has ended for so long; more than one only while there is room."""
        needed(older_than, max_workflows, status, *(status or []))
        not_negative(older_than, max_workflows)
        if any(s in ACTIVE for s in status):
            raise Refused("22023")
        workflows = steps = 0
        for root in [w for w in self.workflows.values() if w.parent is None and w.status in status]:
            tree = [root] + list(root.below())
            if any(w.status in ACTIVE for w in tree):
                self.also.add("left what is unfinished below")
            elif max(t.ended_at for w in tree for t in (w, *w.steps.values()) if t.ended_at is not None) >= self.now - older_than:
                self.also.add("left what has ended lately")
            elif max_workflows:
                workflows, steps = workflows + len(tree), steps + sum(len(w.steps) for w in tree)
                self.also.update(["deleted a " + what for w in tree for what in ("signals", "events", "tags") if getattr(w, what)])
                for w in tree:
                    w.gone, w.kept, w.signals = True, self.is_awaited(w), []
                    self.gone.append(w)
                    del self.workflows[w.id]
                    self.also.update(["kept for a wait"] if w.kept else [])
        for w in self.gone if max_workflows else ():
            w.kept = w.kept and self.is_awaited(w)
        if max_workflows:
            self.forget_executors(max(older_than, EXECUTOR_TIMEOUT))
        self.note = "some" if workflows else "none"
        return [dict(workflows=workflows, steps=steps)]

    def is_awaited(self, awaited):
        """By an open wait."""
        return any(s.awaited is awaited and s.status in ("PENDING", "PAUSED")
                   for w in self.workflows.values() if w.status in ACTIVE for s in w.steps.values())

    def forget_executors(self, silent_for=EXECUTOR_TIMEOUT):
        """Those that were silent for so long, and drive nothing; how many."""
        drivers = {w.owner for w in self.workflows.values() if not w.inline and "RUNNING" in (w.status, w.paused_from)}
        dead = [x for x in self.executors if self.dead(x, silent_for) and x not in drivers]
        for x in dead:
            del self.executors[x]
            self.versions.pop(x, None)
        self.also.update(["forgot an executor"] if dead else [])
        return len(dead)

    # ---- queues, executors, recovery ------------------------------------------------------

    def check_queue(self, name, max_concurrency, rate_limit, rate_limit_window, key_concurrency):
        needed(name, rate_limit_window)
        words(name)
        not_negative(max_concurrency, rate_limit, rate_limit_window, key_concurrency)

    def create_queue(self, name, max_concurrency=None, rate_limit=None, rate_limit_window=0.00001, key_concurrency=None):
        self.check_queue(name, max_concurrency, rate_limit, rate_limit_window, key_concurrency)
        settings = (max_concurrency, rate_limit, rate_limit_window, key_concurrency)
        if name in self.queues and self.queues[name].settings != settings:
            raise Refused("42710")
        self.note = "again" if name in self.queues else None
        self.queues.setdefault(name, Queue(settings))
        return [dict(create_queue="")]

    def alter_queue(self, name, max_concurrency=None, rate_limit=None, rate_limit_window=0.00001, key_concurrency=None):
        self.check_queue(name, max_concurrency, rate_limit, rate_limit_window, key_concurrency)
        self.known_queue(name)
        self.queues[name].settings = (max_concurrency, rate_limit, rate_limit_window, key_concurrency)
        return [dict(alter_queue="")]

    def drop_queue(self, name):
        needed(name)
        words(name)
        self.known_queue(name)
        if any(w.queue == name and w.status in ACTIVE for w in self.workflows.values()):
            raise Refused("WF002")
        if any(s.settings[1] == name for s in self.schedules.values()):
            raise Refused("WF002")
        del self.queues[name]
        return [dict(drop_queue="")]

    def pause_queue(self, name, function="pause_queue"):
        needed(name)
        words(name)
        self.known_queue(name)
        self.queues[name].paused = function == "pause_queue"
        return [{function: ""}]

    def resume_queue(self, name):
        return self.pause_queue(name, "resume_queue")

    def claim(self, queue, executor_id, max_workflows=1, handlers=None, app_version=None):
        needed(queue, executor_id, max_workflows)
        words(queue, executor_id, app_version)
        not_negative(max_workflows)
        self.known_queue(queue)
        q = self.queues[queue]
        most, rate, window, of_key = q.settings
        mine = [w for w in self.workflows.values() if w.queue == queue]
        due = sorted((w for w in mine if self.is_due(w)), key=lambda w: (-w.priority, *w.waits_since))
        room = 0 if q.paused else max_workflows
        starts = room  # what was suspended is none
        if most is not None:
            room = min(room, most - sum("RUNNING" in (w.status, w.paused_from) for w in mine))
            self.also.update({"a pause holds a slot" for w in mine if w.paused_from == "RUNNING" and due and room < max_workflows})
        if rate is not None:
            if q.window_start is None or q.window_start + window <= self.now:
                q.window_start, q.window_count = None, 0
            starts = rate - q.window_count
        running = [w.key for w in mine if "RUNNING" in (w.status, w.paused_from)]
        taken = []
        looked = False
        for w in due:
            if len(taken) >= room:
                break
            if w.suspended_at is None and starts <= 0:
                continue
            if of_key is not None and w.key is not None and running.count(w.key) >= of_key:
                self.also.add("a key is full")
                continue
            looked = True  # also at what it does not ask for
            if self.wanted(w, handlers, app_version):
                taken.append(w)
                running.append(w.key)
                self.also.update(["beyond the rate"] if starts <= 0 else [])
                starts -= w.suspended_at is None
        self.note = "some" if taken else "limited" if due and max_workflows and not q.paused else "paused" if due else "none"
        if looked:
            known = self.versions.get(executor_id) if executor_id in self.executors else None
            if app_version not in (None, known):
                self.executors[executor_id], self.versions[executor_id] = self.now, app_version
            self.register(executor_id)
        if taken:
            self.note += " of those asked for" if handlers is not None or app_version else ""
            begun = sum(w.suspended_at is None for w in taken)
            if rate is not None and begun:
                q.window_start = self.now if q.window_start is None else q.window_start
                q.window_count += begun
        for w in taken:
            self.begin(w)
            self.hand_over(w, executor_id)
        return [dict(workflow_id=w.id, name=w.name, handler=w.handler, input=w.input, lease=w.lease,
                     recovery_count=w.recovery_count, created_at=w.created_at, scheduled_for=w.scheduled_for) for w in taken]

    def wanted(self, w, handlers, app_version):
        return (handlers is None or w.handler in handlers) and (app_version is None or w.version in (None, app_version))

    def heartbeat(self, executor_id, workflow_ids=None, leases=None):
        needed(executor_id)
        words(executor_id)
        if (workflow_ids is None) != (leases is None) or len(workflow_ids or []) != len(leases or []):
            raise Refused("22023")
        self.executors[executor_id] = self.now
        wrong = []
        for id, lease in zip(workflow_ids or [], leases or []):
            w = self.workflows.get(id)
            if w is None:
                wrong.append(dict(workflow_id=id, status=None, lease=None, owner=None, cancel_requested_at=None))
            elif not w.inline and ((w.status, w.lease, w.owner) != ("RUNNING", lease, executor_id) or w.untold):
                self.also.update(["told of a request"] if w.untold else [])
                wrong.append(dict(workflow_id=id, status=w.status, lease=w.lease, owner=w.owner, cancel_requested_at=w.asked_at))
        if workflow_ids is not None:
            wrong += [dict(workflow_id=w.id, status=w.status, lease=w.lease, owner=w.owner, cancel_requested_at=w.asked_at) for w in self.workflows.values()
                      if w.status == "RUNNING" and w.owner == executor_id and w.id not in workflow_ids]
        self.note = "told" if wrong else "agreed"
        return sorted(wrong, key=lambda row: row["workflow_id"])

    def last_sign(self, workflow):
        signs = [workflow.started_at]
        for w in [workflow] + list(workflow.below(lambda child: child.inline)):
            signs += [w.started_at] if w.inline else []
            signs += [t for s in w.steps.values() for t in (s.started_at, s.ended_at, s.failed_at)]
        return max(t for t in signs if t is not None)

    def to_recover(self, executor_id, stale_after=None, queue=None, handlers=None):
        silent_for = EXECUTOR_TIMEOUT if stale_after is None else stale_after
        for w in self.workflows.values():
            reason = None
            if w.inline or (queue is not None and w.queue != queue) or (handlers is not None and w.handler not in handlers):
                continue
            if w.status == "RUNNING":
                if w.owner is None or w.owner not in self.executors:
                    if w.owner != executor_id and self.last_sign(w) < self.now - silent_for:
                        reason = "no executor"
                elif w.owner != executor_id and self.dead(w.owner, silent_for):
                    reason = "stale executor"
                if reason is None and self.is_late(w):
                    reason = "deadline" if w.late_since is None or w.deadline > w.late_since else None
                    self.also.update(["left what is late to its driver"] if reason is None else [])
            elif w.queue is None and self.is_due(w):
                reason = "released"
            if reason:
                yield w, reason, reason != "released" and w.recovery_count >= w.limit

    def recover(self, executor_id, max_workflows=100, stale_after=None, queue=None, handlers=None):
        needed(executor_id, max_workflows)
        words(executor_id, queue)
        not_negative(max_workflows, stale_after)
        self.known_queue(queue)
        self.register(executor_id, EXECUTOR_TIMEOUT if stale_after is None else stale_after)
        found = list(self.to_recover(executor_id, stale_after, queue, handlers)) if max_workflows else []
        if len(found) > max_workflows:  # which ones is the extension's choice
            found.sort(key=lambda f: f[0].id not in self.seen)
            found = found[:max_workflows]
        taken = []
        order = ["stale executor", "no executor", "deadline", "released"]
        # for each reason, who is given up comes first
        for w, reason, too_often in sorted(found, key=lambda f: (order.index(f[1]), not f[2])):
            if w.status not in ACTIVE:  # ended with what was given up
                continue
            if too_often:
                # (its child was just given up, as that of a dead executor: a sign of life)
                if not (reason == "no executor" and self.last_sign(w) == self.now):
                    self.end(w, "FAILED", error=Text(reason))
                continue
            is_recovery = reason != "released"
            if reason == "no executor" and self.last_sign(w) == self.now:
                # its child was just given up: a sign of life, if that came first
                if w.id not in self.seen:
                    continue
                reason = Text("")
            w.recovery_count += is_recovery
            if w.status == "PENDING" or (w.deadline is not None and w.deadline <= self.now):
                self.begin(w)
            self.hand_over(w, executor_id)
            taken.append(dict(workflow_id=w.id, parent_id=w.parent.id if w.parent else None, name=w.name, handler=w.handler,
                              input=w.input, lease=w.lease, recovery_count=w.recovery_count, reason=reason))
        self.note = ", ".join(sorted({"given up" if f[2] else f[1] for f in found})) or "none"
        return sorted(taken, key=lambda row: row["workflow_id"])

    def release(self, executor_id, workflow_id=None, run_at=None):
        needed(executor_id)
        words(executor_id)
        one = None if workflow_id is None else self.workflow(workflow_id)
        if one is None:
            self.executors.pop(executor_id, None)
            self.versions.pop(executor_id, None)
            given = [w for w in self.workflows.values() if w.owner == executor_id and w.status in ("RUNNING", "PAUSED")]
        else:
            given = [one] if one.owner == executor_id and one.status == "RUNNING" else []
        for w in given:
            if w.status == "PAUSED":
                w.paused_from = "PENDING"
            else:
                w.status = "PENDING"
            if run_at is not None:
                w.run_at = run_at
            elif w.queue is None:
                w.run_at = self.now
            w.deadline = None
            self.hand_over(w, None)
        self.note = ("one: " if one else "all: ") + ("some" if given else "none")
        return [dict(release=len(given))]

    # ---- schedules, and what time brings --------------------------------------------------

    def create_schedule(self, name, cron, queue, overlap="skip", catch_up="last", handler=None):
        needed(name, cron, queue, overlap, catch_up)
        words(name, queue, handler)
        if cron == "bad" or overlap == "bad" or catch_up == "bad":
            raise Refused("22023")
        settings = (cron, queue, overlap, catch_up, handler)
        if name in self.schedules:
            if self.schedules[name].settings != settings:
                raise Refused("42710")
            self.note = "again"
        else:
            self.known_queue(queue)
            begun = round(self.now)  # cut to the second: all is whole ticks from there on
            self.schedules[name] = Schedule(settings, begun, begun + cron)
        return [dict(create_schedule="")]

    def schedule(self, name):
        needed(name)
        words(name)
        if name not in self.schedules:
            raise Refused("WF012")
        return self.schedules[name]

    def drop_schedule(self, name):
        self.schedule(name)
        del self.schedules[name]
        return [dict(drop_schedule="")]

    def pause_schedule(self, name):
        self.schedule(name).paused = True
        return [dict(pause_schedule="")]

    def resume_schedule(self, name):
        self.schedule(name).paused = False
        return [dict(resume_schedule="")]

    def unfinished_runs(self, name):
        return [w for w in self.workflows.values() if w.scheduled_by == name and w.status in ACTIVE]

    def run_time(self, name, s, at):
        _, queue, overlap, _, handler = s.settings
        unfinished = self.unfinished_runs(name)
        if unfinished and overlap == "queue" and s.waiting is None:
            s.waiting = at
            return "made to wait"
        if unfinished and overlap in ("skip", "queue"):
            s.skipped += 1
            return "skipped"
        if overlap == "cancel":
            for w in unfinished:
                self.cancel_tree(w.id)
        self.runs += 1
        self.next_id = FIRST_RUN + self.runs
        w = self.create(None, None, Text(name + "@"), None, handler, queue, 0, None, None, 100)
        w.scheduled_by, w.scheduled_for = name, at
        return "cancelled the former" if unfinished and overlap == "cancel" else "started beside" if unfinished else "started"

    def run_schedule(self, name, s):
        """What happened to the times that are due, and to the one that waits."""
        every, _, _, catch_up, _ = s.settings
        happened = []
        if s.waiting is not None and not self.unfinished_runs(name):
            at, s.waiting = s.waiting, None
            self.run_time(name, s, at)
            happened.append("has waited")
        while s.next <= self.now:
            latest = s.begun + (self.now - s.begun) // every * every
            missed = self.now - s.next > MISSED
            if missed:
                self.also.add("missed, " + catch_up)
            if missed and catch_up == "none" and self.now - latest > MISSED:
                s.next = latest + every
                break
            at = latest if missed and catch_up != "all" else s.next
            happened.append(self.run_time(name, s, at))
            s.next = at + every
        return happened

    def tick(self, max_rows=1000):
        needed(max_rows)
        not_negative(max_rows)
        happened = []
        for name, s in self.schedules.items() if max_rows else ():
            if not s.paused and (s.next <= self.now or s.waiting is not None):
                happened += self.run_schedule(name, s)
        for reason in ("stale executor", "no executor", "deadline") if max_rows else ():
            found = [f for f in self.to_recover(self) if f[1] == reason and f[0].queue is not None]
            # those that are given up all at once: so no child of one is cancelled with it
            for w, _, too_often in sorted(found, key=lambda f: (not f[2], -len(list(f[0].ancestors())))):
                if w.status != "RUNNING":  # it has ended with its parent
                    continue
                if too_often:
                    self.end(w, "FAILED", error=Text(reason))
                else:
                    w.status, w.deadline = "PENDING", None
                    w.recovery_count += 1
                    self.hand_over(w, None)
                happened.append("given up" if too_often else reason)
        overdue = [w for w in self.workflows.values() if w.status in ACTIVE and w.cancel_at is not None and w.cancel_at <= self.now]
        for w in sorted(overdue, key=lambda w: w.cancel_at) if max_rows else ():
            if w.status in ACTIVE:
                self.cancel(w)
                happened.append("cancelled after its grace")
        happened += ["forgotten"] * (self.forget_executors() if max_rows else 0)
        self.note = ", ".join(sorted(set(happened))) or "nothing"
        return [dict(tick=len(happened))]
