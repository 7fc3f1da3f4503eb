# Turns the Lua files in FOLDER into constants: each script is its own first line (the shebang with
# its flags), then what it needs of common.lua, then the rest of its file. Writes OUTPUT.h and
# OUTPUT.cc.
#   cmake -DFOLDER=… -DOUTPUT=… -P embed_scripts.cmake
# Redis makes every function of a script anew in every call, so a script gets those functions of
# common.lua that it names, and that these name; all that stands between functions it gets anyway.
# All but the constants at the beginning of common.lua stands in one function more: to make a function,
# Lua looks for each local of the one around it among all that are in use, and copies those of the one
# around that. With a hundred functions that is a quarter of the time of a small call.
# Lines with nothing but a comment are left out. (No Lua file here has long brackets, which may hold
# lines that only look like one.)
cmake_minimum_required(VERSION 3.25)

function(read_lua path output)
  file(READ ${path} text)
  string(REGEX REPLACE "\n[ \t]*--[^\n]*" "" text "\n${text}")
  string(SUBSTRING "${text}" 1 -1 text)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

read_lua(${FOLDER}/common.lua rest)
string(PREPEND rest "\n")  # so that a function may be its first line
file(GLOB files ${FOLDER}/*.lua)
list(FILTER files EXCLUDE REGEX "/common\\.lua$")

# between_0, function_0, between_1, … : a function ends with its line, or with an `end` in column 1.
set(functions 0)
while(TRUE)
  string(FIND "${rest}" "\nlocal function " begin)
  if(begin EQUAL -1)
    set(between_${functions} "${rest}")
    break()
  endif()
  math(EXPR begin "${begin} + 1")
  string(SUBSTRING "${rest}" 0 ${begin} between_${functions})
  string(SUBSTRING "${rest}" ${begin} -1 rest)
  string(REGEX MATCH "^local function ([a-z0-9_]+)[^\n]*" line "${rest}")
  set(name_${functions} "${CMAKE_MATCH_1}")
  if(line MATCHES " end$")
    string(LENGTH "${line}" size)
  else()
    string(FIND "${rest}" "\nend\n" size)
    string(FIND "${rest}" "\nlocal function " next)
    if(size EQUAL -1 OR (NOT next EQUAL -1 AND next LESS size))
      message(FATAL_ERROR "common.lua: ${name_${functions}} needs an `end` of its own in column 1")
    endif()
    math(EXPR size "${size} + 4")
  endif()
  string(SUBSTRING "${rest}" 0 ${size} function_${functions})
  string(SUBSTRING "${rest}" ${size} -1 rest)
  math(EXPR functions "${functions} + 1")
endwhile()

set(header "// The Redis scripts; made by the build from daemon/store/redis/scripts.\n#pragma once\n\n\
#include <weft/store/redis/redis_connection.h>\n\nnamespace weft::redis_scripts {\n\n")
set(source "#include \"redis_scripts.h\"\n\nnamespace weft::redis_scripts {\n")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  read_lua(${file} text)
  string(FIND "${text}" "\n" end)
  string(SUBSTRING "${text}" 0 ${end} shebang)
  math(EXPR begin "${end} + 1")
  string(SUBSTRING "${text}" ${begin} -1 body)
  # From the last to the first: a function only names those before it.
  set(needs "${body}${between_${functions}}")
  set(common "${between_${functions}}")
  set(i ${functions})
  while(i GREATER 0)
    math(EXPR i "${i} - 1")
    if("${needs}" MATCHES "[^A-Za-z0-9_.]${name_${i}}[^A-Za-z0-9_]")
      string(APPEND needs "${function_${i}}")
      string(PREPEND common "${function_${i}}")
    endif()
    string(APPEND needs "${between_${i}}")
    if(i GREATER 0)
      string(PREPEND common "${between_${i}}")
    endif()
  endwhile()
  set(script "${shebang}\n${between_0}return (function()\n${common}${body}\nend)()\n")
  string(SHA1 sha1 "${script}")
  string(APPEND header "extern const RedisScript ${name};\n")
  # A string literal may be no longer than 64 KiB everywhere; these are shorter.
  string(APPEND source "\nconst RedisScript ${name}{\"${name}\", R\"lua(${script})lua\", \"${sha1}\"};\n")
endforeach()
file(WRITE ${OUTPUT}.h "${header}\n}  // namespace weft::redis_scripts\n")
file(WRITE ${OUTPUT}.cc "${source}\n}  // namespace weft::redis_scripts\n")
