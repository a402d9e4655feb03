/*
 * system/system.h - services of the machine for programs: terminal, files, secrets, pictures,
 * networks. SPDX-License-Identifier: MIT
 */
#ifndef TRUECONF_SYSTEM_H
#define TRUECONF_SYSTEM_H

#include <lua.h>

/* Before anything opens a descriptor: fill standard streams that are closed, let broken pipes be errors. */
void standard_open(lua_State *L); /* flush_output, add_variable */

/* Each adds its functions to the table on top. */
void input_open(lua_State *L);       /* readable, read */
void line_editor_open(lua_State *L); /* edit_begin, edit_key, edit_end */
void private_file_open(
    lua_State *L);                  /* private_folder, private_file, read_file, read_private, write_private */
void named_file_open(lua_State *L); /* source, file_target, file_stamp, replace_file */
void password_open(lua_State *L);   /* crypt_salt, crypt_hash, crypt_hash_now, crypt_verify */
void directory_open(lua_State *L);  /* ldap_bind, ldap_ca_file */
void picture_open(lua_State *L);    /* picture_preview */
void probe_open(lua_State *L);      /* probe */

#endif
