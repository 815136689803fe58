# For building interface packages against ROS 2 from wheels; passed as CMAKE_PROJECT_INCLUDE by tools/setup.
#
# The wheels' exported *__rosidl_generator_py targets name the include folders of the machine that built them
# (/opt/python/...), which exist nowhere else. Replace those by this Python's own, once the project has found them.

function(use_include_folders_of_this_python directory)
  find_package(Python3 REQUIRED COMPONENTS Interpreter Development NumPy)
  get_property(targets DIRECTORY "${directory}" PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    if(target MATCHES "__rosidl_generator_py$")
      get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
      if(folders)
        list(FILTER folders EXCLUDE REGEX "^/opt/python/")
        list(APPEND folders ${Python3_INCLUDE_DIRS} ${Python3_NumPy_INCLUDE_DIRS})
        set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
      endif()
    endif()
  endforeach()
endfunction()

# The C++ type supports are many small files under the same large headers: compile each library in one go, which halves
# the build. (The others define what may be there once only in every file, so they stay apart.)
function(compile_cpp_type_supports_in_one_go)
  foreach(kind cpp fastrtps_c fastrtps_cpp)
    if(TARGET ${PROJECT_NAME}__rosidl_typesupport_${kind})
      set_target_properties(${PROJECT_NAME}__rosidl_typesupport_${kind} PROPERTIES
        UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
    endif()
  endforeach()
endfunction()

cmake_language(DEFER CALL compile_cpp_type_supports_in_one_go)
cmake_language(DEFER CALL use_include_folders_of_this_python "${CMAKE_CURRENT_SOURCE_DIR}")
