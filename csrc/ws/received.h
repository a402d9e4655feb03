/*
 * ws/received.h - how much has come on a TCP connection.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_WS_RECEIVED_H
#define TRUECONF_WS_RECEIVED_H

#include <stdint.h>

/* Bytes of its payload since it was made; 0: not known. */
uint64_t received_bytes(int fd);

#endif
