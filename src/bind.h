/*-------------------------------------------------------------------------
 *
 * bind.h
 *	  Executors that are bound to a session (bind.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_BIND_H
#define DURABLE_BIND_H

#include "durable.h"

extern bool session_has_ended(Datum executor_id, NullableDatum run, NullableDatum number);
extern bool bind_executor(Datum executor_id);
extern void unbind_ended(Datum executor_id, NullableDatum run, NullableDatum number);

#endif							/* DURABLE_BIND_H */
