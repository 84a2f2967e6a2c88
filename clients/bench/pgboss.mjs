import { PgBoss } from "pg-boss";
import { began, concurrency, connections, contest, did, kind, STEPS } from "./contest.mjs";

const { PGHOST: host, PGUSER: user, PGDATABASE: database } = process.env;
const boss = new PgBoss({
  host,
  user,
  database,
  max: connections,
  useListenNotify: true,
  supervise: false,
  schedule: false,
});
boss.on("error", console.error);
await boss.start();
await boss.createQueue("bench", { notify: true });

/** It has no steps: a workflow is a chain of jobs, each of which sends the next. */
async function one({ data: { n, step = 0 } }) {
  if (step === 0) began(n);
  if (kind === "workflow" && step < STEPS - 1) await boss.send("bench", { n, step: step + 1 });
  did();
}
/** A fetch takes 32, as a worker that takes one at a time waits for its next poll after each. */
async function batch(jobs) {
  const lane = async () => {
    for (let job; (job = jobs.shift());) await one(job);
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

await contest({
  enqueue: (first, number) =>
    boss.insert(
      "bench",
      Array.from({ length: number }, (_, i) => ({ data: { n: first + i } })),
    ),
  work: () => boss.work("bench", { batchSize: 32, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }, batch),
});
