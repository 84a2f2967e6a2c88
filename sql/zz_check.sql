-- What the other files have left behind, all made by the functions: it is healthy.
SELECT test.mask(task_id::text) AS task, problem FROM durable.check();
