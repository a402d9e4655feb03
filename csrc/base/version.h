/*
 * base/version.h - the version.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_BASE_VERSION_H
#define TRUECONF_BASE_VERSION_H

#ifndef TRUECONF_VERSION
#define TRUECONF_VERSION "0.1.0"
#endif
/* The header User-Agent. */
#define TRUECONF_AGENT "trueconf-lua/" TRUECONF_VERSION

#endif
