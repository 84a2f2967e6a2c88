import { DBOS } from "@dbos-inc/dbos-sdk";
import { began, concurrency, connections, contest, did, each, kind, pool, STEPS } from "./contest.mjs";

DBOS.setConfig({ name: "bench", systemDatabasePool: pool(), systemDatabasePoolSize: connections, logLevel: "error" });
const program = DBOS.registerWorkflow(
  async (n) => {
    began(n);
    if (kind === "job") return did();
    for (let step = 0; step < STEPS; step++) await DBOS.runStep(async () => did({ step }), { name: `step-${step}` });
  },
  { name: "program" },
);
await DBOS.launch();

await contest({
  enqueue: (first, number) => each(number, (i) => DBOS.startWorkflow(program, { queueName: "bench" })(first + i)),
  work: () => DBOS.registerQueue("bench", { workerConcurrency: concurrency, minPollingIntervalMs: 20 }),
});
