{
  # Builds the same addon as CMakeLists.txt, from the same native/sources.gypi, for those who build from source without CMake.
  # Node's own headers are taken out of the include path: they bring Node's OpenSSL headers, and the addon links the system's.
  "targets": [
    {
      "target_name": "strongroom",
      "sources": ["<!@(node scripts/native-paths.cjs addon-sources)"],
      "include_dirs": [
        "native",
        "<!(node scripts/native-paths.cjs node-api-headers)",
        "<!(node scripts/native-paths.cjs node-addon-api)",
        "<!(node scripts/native-paths.cjs pkcs11)",
        "<!(node scripts/native-paths.cjs tss2-headers)"
      ],
      "include_dirs!": [
        "<(node_root_dir)/include/node",
        "<(node_root_dir)/src",
        "<(node_root_dir)/deps/openssl/config",
        "<(node_root_dir)/deps/openssl/openssl/include",
        "<(node_root_dir)/deps/uv/include",
        "<(node_root_dir)/deps/zlib",
        "<(node_root_dir)/deps/v8/include"
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "STRONGROOM_VERSION=\"<!(node -p \"require('./package.json').version\")\"",
        "_GLIBCXX_ASSERTIONS"
      ],
      "cflags!": ["-O3", "-fno-omit-frame-pointer"],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20", "-fno-exceptions", "-fno-rtti", "-O3"],
      "cflags": ["-O2", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"],
      "cflags_cc": ["-std=c++20", "-fvisibility-inlines-hidden"],
      "libraries": [
        "<!@(node scripts/native-paths.cjs libcrypto.a)",
        "<!(node scripts/native-paths.cjs libargon2.a)",
        "-lpthread",
        "-ldl"
      ],
      "ldflags": [
        "-static-libstdc++",
        "-static-libgcc",
        "-Wl,--exclude-libs,ALL",
        "-Wl,--version-script=<(module_root_dir)/native/addon/exports.map",
        "-Wl,-z,nodelete",
        "-Wl,-z,relro,-z,now",
        "-Wl,-z,noexecstack",
        "-Wl,--as-needed",
        "-Wl,--gc-sections"
      ]
    }
  ]
}
