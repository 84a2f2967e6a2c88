/*-------------------------------------------------------------------------
 *
 * recover.h
 *	  Workflows that nobody alive drives (recover.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_RECOVER_H
#define DURABLE_RECOVER_H

#include "durable.h"

extern int64 return_to_queues(TimestampTz now, int64 most);

#endif							/* DURABLE_RECOVER_H */
