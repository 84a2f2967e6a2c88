/*-------------------------------------------------------------------------
 *
 * purge.h
 *	  Retention (purge.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_PURGE_H
#define DURABLE_PURGE_H

#include "durable.h"

#include "utils/guc.h"

extern char *durable_retention;

extern bool check_retention(char **text, void **extra, GucSource source);
extern void assign_retention(const char *text, void *extra);
extern int64 purge_by_retention(TimestampTz now, int64 most);
extern int64 forget_dead_executors(TimestampTz now, int64 most);

#endif							/* DURABLE_PURGE_H */
