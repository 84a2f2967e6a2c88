/*-------------------------------------------------------------------------
 *
 * privileges.h
 *	  Who may do what (privileges.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_PRIVILEGES_H
#define DURABLE_PRIVILEGES_H

#include "durable.h"

extern void require_driver(FunctionCallInfo fcinfo, NullableDatum executor_id);

#endif							/* DURABLE_PRIVILEGES_H */
