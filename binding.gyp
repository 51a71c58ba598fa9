{
  # The native addon for machines without CMake (npm run build:gyp). CMakeLists.txt is the way with it; both read
  # native/sources.txt.
  'targets': [
    {
      'target_name': 'simdgrad',
      'sources': [
        '<!@(node -p "require(\'fs\').readFileSync(\'native/sources.txt\', \'utf8\').split(/\\r?\\n/).filter((line) => /^[^#]/.test(line)).join(\' \')")',
      ],
      'include_dirs': ['native/src', '<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS'],
      'conditions': [
        ['OS == "win"', {
          'msvs_settings': {
            'VCCLCompilerTool': {'AdditionalOptions': ['/std:c++20', '/O2'], 'ExceptionHandling': 1},
          },
        }, {
          'cflags_cc': [
            '-std=c++20', '-O3', '-Wall', '-Wextra', '-fno-exceptions', '-fno-rtti', '-fvisibility=hidden',
            '-fvisibility-inlines-hidden', '-ffp-contract=off', '-fno-math-errno', '-pthread',
          ],
          'ldflags': ['-pthread'],
        }],
        ['OS == "linux"', {
          # nodelete: helper threads must not find their code unmapped when a worker ends.
          'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,noexecstack'],
        }],
        ['OS == "mac"', {
          'xcode_settings': {
            'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
            'GCC_ENABLE_CPP_EXCEPTIONS': 'NO',
            'GCC_ENABLE_CPP_RTTI': 'NO',
            'GCC_OPTIMIZATION_LEVEL': '3',
            'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
            'MACOSX_DEPLOYMENT_TARGET': '11.0',
            'OTHER_CPLUSPLUSFLAGS': ['-ffp-contract=off', '-fno-math-errno'],
          },
        }],
      ],
    },
  ],
}
