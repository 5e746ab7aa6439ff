# WEFT_CUDA: the CUDA kernels, and programs that load the CUDA part of libtorch. On where that part and a toolkit are found.
include(CheckLanguage)
if(NOT DEFINED WEFT_CUDA)
  _weft_torch_config(_weft_torch_dir)
  if(EXISTS "${_weft_torch_dir}/../../../lib/libtorch_cuda.so")
    check_language(CUDA)
  endif()
  set(_weft_cuda OFF)
  if(CMAKE_CUDA_COMPILER)
    set(_weft_cuda ON)
  endif()
endif()
option(WEFT_CUDA "Build the CUDA kernels; needs a libtorch with CUDA and a toolkit" ${_weft_cuda})
set(WEFT_CUDA_ARCHITECTURES "80-virtual;90a-real" CACHE STRING
    "What kernels are compiled for, as in CUDA_ARCHITECTURES; one -virtual serves every later GPU")

if(WEFT_CUDA)
  if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
    find_program(WEFT_CCACHE ccache)
    if(WEFT_CCACHE)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${WEFT_CCACHE})
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # each target names its own
  enable_language(CUDA)
  find_package(CUDAToolkit 12.8 REQUIRED)
endif()

# weft_cuda_options(<target>): an object library of kernels.
function(weft_cuda_options target)
  # CMake 3.25 knows no C++20 for nvcc 13.
  set_target_properties(
    ${target} PROPERTIES CUDA_ARCHITECTURES "${WEFT_CUDA_ARCHITECTURES}" CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
                         CUDA_RUNTIME_LIBRARY Shared POSITION_INDEPENDENT_CODE ON CUDA_VISIBILITY_PRESET hidden)
  target_compile_options(${target} PRIVATE -Xcompiler=-Wall,-Wextra -Xptxas=-warn-spills)
  if(WEFT_WERROR)
    target_compile_options(${target} PRIVATE -Werror=all-warnings -Xcompiler=-Werror -Xptxas=-Werror)
  endif()
endfunction()
