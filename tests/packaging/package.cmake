# cmake -D BUILD=... -D CONSUMER=... -D SOURCE=... -D TORCH=... -P package.cmake
set(prefix "${BUILD}/package/install")
set(work "${BUILD}/package/consumer")
file(REMOVE_RECURSE "${BUILD}/package")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV}\nended with ${status}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}" --config "${CONFIG}")

# A package that was moved must still work: its CMake files may name no folder of the build machine.
file(GLOB_RECURSE files "${prefix}/*.cmake")
foreach(file IN LISTS files)
  file(STRINGS "${file}" lines)
  foreach(line IN LISTS lines)
    foreach(folder "${SOURCE}" "${BUILD}" "${prefix}" "${TORCH}")
      string(FIND "${line}" "${folder}" at)
      if(NOT folder STREQUAL "" AND NOT at EQUAL -1)
        message(FATAL_ERROR "${file} names a folder of the build machine: ${line}")
      endif()
    endforeach()
  endforeach()
endforeach()

run(${CMAKE_COMMAND} -G "${GENERATOR}" -S "${CONSUMER}" -B "${work}" -D CMAKE_PREFIX_PATH=${prefix} -D Torch_DIR=${TORCH}
    -D CMAKE_BUILD_TYPE=Release "-D CMAKE_CXX_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build "${work}")
run("${work}/consumer")
if(NOT output MATCHES "image and text meet in \\[2, 16\\]")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()
run("${work}/reader")
