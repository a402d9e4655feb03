/*
 * system/secrets.h - what a server keeps and checks the secrets of its users with.
 * SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SECRETS_H
#define TRUECONF_SECRETS_H

#include <lua.h>

/* Each adds its functions to the table on top. */
void password_open(lua_State *L);  /* crypt_salt, crypt_hash, crypt_verify */
void directory_open(lua_State *L); /* ldap_bind, ldap_ca_file */
void private_file_open(
    lua_State *L); /* private_folder, private_file, read_file, read_private, write_private */

#endif
