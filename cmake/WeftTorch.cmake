# Finds libtorch and provides the target `torch`. Used by weft's build and by the installed package.
#
# Where to look, in this order: Torch_DIR or CMAKE_PREFIX_PATH of the caller, the active Python's torch,
# the build tree's own (scripts/setup puts it into build/libtorch).
#
# The TorchConfig.cmake of a libtorch built for CUDA stops on a machine without the toolkit, and sets nvcc's flags
# for everybody on one that has it. Such a libtorch is therefore imported here: its include and lib folders,
# with its CUDA libraries where they are asked for.

function(_weft_torch_config out)
  if(Torch_DIR)
    set(${out} "${Torch_DIR}" PARENT_SCOPE)
    return()
  endif()
  find_file(_weft_torch_config_file TorchConfig.cmake PATH_SUFFIXES share/cmake/Torch Torch torch/share/cmake/Torch NO_CACHE)
  if(NOT _weft_torch_config_file)
    find_program(_weft_python NAMES python3 python NO_CACHE)
    if(_weft_python)
      # find_spec does not import torch, so this works for a wheel whose Python dependencies are absent.
      execute_process(
        COMMAND "${_weft_python}" -c
                "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE _folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(_folder AND EXISTS "${_folder}/share/cmake/Torch/TorchConfig.cmake")
        set(_weft_torch_config_file "${_folder}/share/cmake/Torch/TorchConfig.cmake")
      endif()
    endif()
  endif()
  if(NOT _weft_torch_config_file AND EXISTS "${WEFT_TORCH_FALLBACK}/torch/share/cmake/Torch/TorchConfig.cmake")
    set(_weft_torch_config_file "${WEFT_TORCH_FALLBACK}/torch/share/cmake/Torch/TorchConfig.cmake")
  endif()
  if(_weft_torch_config_file)
    get_filename_component(_dir "${_weft_torch_config_file}" DIRECTORY)
    set(${out} "${_dir}" PARENT_SCOPE)
  else()
    set(${out} "" PARENT_SCOPE)
  endif()
endfunction()

# libtorch's folders as imported targets, without TorchConfig.cmake.
function(_weft_torch_light root cuda)
  if(NOT EXISTS "${root}/lib/libtorch_cpu.so" OR NOT EXISTS "${root}/lib/libc10.so")
    message(FATAL_ERROR "weft: ${root}/lib holds no libtorch_cpu.so and libc10.so; set Torch_DIR to another libtorch")
  endif()
  set(_libraries c10 torch_cpu)
  if(cuda)
    list(APPEND _libraries c10_cuda)
  endif()
  foreach(name IN LISTS _libraries)
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(
      ${name}
      PROPERTIES IMPORTED_LOCATION "${root}/lib/lib${name}.so"
                 IMPORTED_NO_SONAME ON
                 INTERFACE_INCLUDE_DIRECTORIES "${root}/include;${root}/include/torch/csrc/api/include")
  endforeach()
  set(WEFT_TORCH_INCLUDE_DIR "${root}/include" PARENT_SCOPE)
  # libtorch_cpu.so of a CUDA wheel needs libcudart and libcupti: from the wheels beside torch, or from a toolkit.
  file(GLOB _folders "${root}/../nvidia/*/lib" "/usr/local/cuda/lib64" "/usr/local/cuda/extras/CUPTI/lib64")
  foreach(library libcudart libcupti)
    foreach(folder IN LISTS _folders)
      file(GLOB _found "${folder}/${library}.so*")
      if(_found)
        target_link_options(torch_cpu INTERFACE "LINKER:-rpath-link,${folder}" "LINKER:-rpath,${folder}")
        break()
      endif()
    endforeach()
  endforeach()
  add_library(torch INTERFACE IMPORTED GLOBAL)
  target_link_libraries(torch INTERFACE torch_cpu c10)
  if(cuda)
    # Loading libtorch_cuda.so is what registers CUDA; no symbol of it may be in use. Both by name in every program: the
    # libraries that need them find what the program has loaded, wherever that libtorch lies.
    target_link_libraries(
      torch INTERFACE "-Wl,--push-state,--no-as-needed,${root}/lib/libtorch_cuda.so,${root}/lib/libc10_cuda.so,--pop-state" c10_cuda)
    foreach(folder IN LISTS _folders)
      target_link_options(torch INTERFACE "LINKER:-rpath-link,${folder}")
    endforeach()
  endif()
  target_compile_definitions(torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
  file(STRINGS "${root}/include/torch/headeronly/version.h" _lines REGEX "TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" _version "${_lines}")
  set(Torch_VERSION "${_version}" PARENT_SCOPE)
endfunction()

macro(weft_find_torch cuda)
  if(NOT TARGET torch)
    _weft_torch_config(_weft_torch_dir)
    if(NOT _weft_torch_dir)
      message(
        FATAL_ERROR
          "weft: no libtorch was found. One of these helps:\n"
          "  -D Torch_DIR=<libtorch>/share/cmake/Torch   a libtorch that is already on this machine\n"
          "  an active Python whose `torch` is installed\n"
          "  scripts/setup                               puts a pinned libtorch into the build tree")
    endif()
    get_filename_component(_weft_torch_root "${_weft_torch_dir}/../../.." ABSOLUTE)
    if(EXISTS "${_weft_torch_root}/lib/libtorch_cuda.so")
      if(NOT ${cuda})
        message(STATUS "weft: libtorch in ${_weft_torch_root}, its CPU part only (WEFT_CUDA is off)")
      endif()
      _weft_torch_light("${_weft_torch_root}" ${cuda})
    elseif(${cuda})
      message(FATAL_ERROR "weft: WEFT_CUDA is on, but the libtorch in ${_weft_torch_root} holds no lib/libtorch_cuda.so")
    else()
      find_package(Torch 2.11 REQUIRED CONFIG PATHS "${_weft_torch_dir}" NO_DEFAULT_PATH)
    endif()
    if(Torch_VERSION AND Torch_VERSION VERSION_LESS 2.11)
      message(FATAL_ERROR "weft: libtorch ${Torch_VERSION} in ${_weft_torch_root} is too old; 2.11 or newer is needed")
    endif()
  endif()
endmacro()
