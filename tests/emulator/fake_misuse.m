/* fake_misuse.m - wrong uses of Metal, for the test that the fake finds them. */
#import <Metal/Metal.h>

#include "backend/gpu/metal/metal_text.h"
#include "emulator/fake_metal.h"

#include <stddef.h>

void fake_metal_use_wrongly(uint32_t way)
{
    static uint8_t bytes[8192];

    @autoreleasepool {
        id<MTLDevice>        device = MTLCreateSystemDefaultDevice();
        id<MTLCommandQueue>  queue = [device newCommandQueue];
        id<MTLCommandBuffer> b = [queue commandBuffer];
        id<MTLComputeCommandEncoder> e = [b computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
        const MTLSize        one = MTLSizeMake(1, 1, 1), group = MTLSizeMake(32, 1, 1);
        id<MTLBuffer>        buffer = [device newBufferWithLength:64 options:MTLResourceStorageModeShared];
        NSString            *text = [NSString stringWithUTF8String:metal_text];
        MTLCompileOptions   *o = [[MTLCompileOptions alloc] init];

        switch (way) {
        case 0: [e setBytes:bytes length:4097 atIndex:0]; break;
        case 1: [e dispatchThreadgroups:one threadsPerThreadgroup:group]; break;
        case 2: [b commit]; break;
        case 3:
            [[device newBufferWithBytesNoCopy:bytes + 1 length:4096 options:0 deallocator:nil] release];
            break;
        case 4: [e endEncoding]; [e setBytes:bytes length:4 atIndex:0]; break;
        case 5: [e setBuffer:buffer offset:64 atIndex:1]; break;
        case 6: [e endEncoding]; [b waitUntilCompleted]; break;
        case 7: [e endEncoding]; [b commit]; [b commit]; break;
        case 8: [[device newLibraryWithSource:text options:o error:NULL] release]; break;
        default: [e endEncoding]; [b commit]; break;        /* released before anybody waits */
        }
        if (way != 4 && way != 6 && way != 7 && way < 9) [e endEncoding];
        if (way == 2 || way == 7) [b waitUntilCompleted];
        [o release];
        [buffer release];
        [queue release];
        [device release];
    }
}
