/*-------------------------------------------------------------------------
 *
 * subtransaction.h
 *	  An act that is undone if it fails (subtransaction.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SUBTRANSACTION_H
#define DURABLE_SUBTRANSACTION_H

#include "durable.h"

extern bool in_subtransaction(bool (*act) (void *arg), void *arg, ErrorData **error);

#endif							/* DURABLE_SUBTRANSACTION_H */
