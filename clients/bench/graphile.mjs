import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { began, concurrency, contest, did, kind, pool, STEPS } from "./contest.mjs";

const logger = new Logger(() => (level, message) => void (level === "error" && console.error(message)));
// as its documentation advises for many jobs: fetched ahead, and completed together
const batched = { localQueue: { size: 100 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const preset = { worker: process.env.BENCH_BATCHED ? batched : {} };
const options = { pgPool: pool(), logger, preset, concurrency, noHandleSignals: true };
const utils = await makeWorkerUtils(options);
await utils.migrate();

/** It has no steps: a workflow is a chain of jobs, each of which adds the next. */
async function program({ n, step = 0 }, { addJob }) {
  if (step === 0) began(n);
  if (kind === "workflow" && step < STEPS - 1) await addJob("program", { n, step: step + 1 });
  did();
}

await contest({
  enqueue: (first, number) =>
    number === 1
      ? utils.addJob("program", { n: first })
      : utils.addJobs(Array.from({ length: number }, (_, i) => ({ identifier: "program", payload: { n: first + i } }))),
  work: () => run({ ...options, taskList: { program } }),
});
