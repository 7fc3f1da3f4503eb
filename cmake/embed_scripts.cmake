# Turns the Lua files in FOLDER into constants: each script is its own first line (the shebang with
# its flags), then common.lua, then the rest of its file. Writes OUTPUT.h and OUTPUT.cc.
#   cmake -DFOLDER=… -DOUTPUT=… -P embed_scripts.cmake
file(READ ${FOLDER}/common.lua common)
file(GLOB files ${FOLDER}/*.lua)
list(FILTER files EXCLUDE REGEX "/common\\.lua$")
set(header "// The Redis scripts; made by the build from daemon/store/redis/scripts.\n#pragma once\n\n\
#include <weft/store/redis/redis_connection.h>\n\nnamespace weft::redis_scripts {\n\n")
set(source "#include \"redis_scripts.h\"\n\nnamespace weft::redis_scripts {\n")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(FIND "${text}" "\n" end)
  string(SUBSTRING "${text}" 0 ${end} shebang)
  math(EXPR begin "${end} + 1")
  string(SUBSTRING "${text}" ${begin} -1 body)
  set(script "${shebang}\n${common}${body}")
  string(SHA1 sha1 "${script}")
  string(APPEND header "extern const RedisScript ${name};\n")
  # A string literal may be no longer than 64 KiB everywhere; these are shorter.
  string(APPEND source "\nconst RedisScript ${name}{\"${name}\", R\"lua(${script})lua\", \"${sha1}\"};\n")
endforeach()
file(WRITE ${OUTPUT}.h "${header}\n}  // namespace weft::redis_scripts\n")
file(WRITE ${OUTPUT}.cc "${source}\n}  // namespace weft::redis_scripts\n")
