import { readFileSync } from "node:fs";
import { Absurd } from "absurd-sdk";
import { began, concurrency, contest, did, each, kind, pool, STEPS } from "./contest.mjs";

const db = pool();
await db.query(readFileSync("absurd.sql", "utf8"));
const app = new Absurd({ db, queueName: "bench" });
await app.createQueue();

app.registerTask({ name: "program" }, async (n, ctx) => {
  began(n);
  if (kind === "job") return did();
  for (let step = 0; step < STEPS; step++) await ctx.step(`step-${step}`, async () => did({ step }));
});

await contest({
  enqueue: (first, number) => each(number, (i) => app.spawn("program", first + i)),
  work: () => app.startWorker({ concurrency, pollInterval: 0.02 }),
});
