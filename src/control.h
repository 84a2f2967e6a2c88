/*-------------------------------------------------------------------------
 *
 * control.h
 *	  Whole trees (control.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CONTROL_H
#define DURABLE_CONTROL_H

#include "durable.h"

extern bool cancel_root(const pg_uuid_t *id, bool may_wait);

#endif							/* DURABLE_CONTROL_H */
