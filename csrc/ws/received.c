/*
 * ws/received.c - how much has come on a TCP connection. A file of its own: the headers that tell it do not
 * go together with those of libwebsockets.
 * SPDX-License-Identifier: MIT
 */
#include "ws/received.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

uint64_t received_bytes(int fd) {
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) ? 0 : info.tcpi_bytes_received;
}
