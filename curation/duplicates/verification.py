"""proto"""
from __future__ import annotations
import numpy as np
from numba import njit
from curation.duplicates.registration import fit_level, warp, gain_and_offset
from curation.duplicates.comparison import bands, compare, coarse_band, coarse_agreement

@njit(cache=True)
def _oriented(picture, mirrored):
    n=picture.shape[0]
    out=np.empty((n,n),dtype=np.float32)
    for y in range(n):
        for x in range(n): out[y,x]=picture[y,n-1-x if mirrored else x]
    return out

@njit(cache=True)
def _start(small_a, small_b, a):
    best=-2.0
    n=small_a.shape[0]
    warped=np.empty((n,n),dtype=np.float32); inside=np.empty((n,n),dtype=np.bool_)
    trial=np.zeros(6); bz=1.0
    for z in (1.0,0.8,1.25):
        trial[:]=0.0; trial[0]=z; trial[4]=z
        warp(small_b,trial,warped,inside)
        _,_,c=gain_and_offset(small_a,warped,inside)
        if c>best: best=c; bz=z
    a[:]=0.0; a[0]=bz; a[4]=bz
    return best

@njit(cache=True)
def verify(T,S,M,I,J,mir,r12,r24,maps,c0,c12,c24,c48,ev,stage):
    n=T.shape[1]
    fa=np.empty((n,n),dtype=np.float32); ma=np.empty((n,n),dtype=np.float32); fb=np.empty((n,n),dtype=np.float32); mb=np.empty((n,n),dtype=np.float32)
    w=np.empty((n,n),dtype=np.float32); inside=np.empty((n,n),dtype=np.bool_)
    w24=np.empty((24,24),dtype=np.float32); in24=np.empty((24,24),dtype=np.bool_)
    last=-1;last24=-1
    a48=_oriented(T[0],False); ba=coarse_band(M[0])
    for k in range(I.shape[0]):
        i=I[k]; j=J[k]; a=maps[k]
        b12=_oriented(S[j],mir[k])
        c0[k]=_start(S[i],b12,a)
        if stage==0: continue
        c12[k]=fit_level(S[i],b12,a,6,False)
        if c12[k]<r12 or stage==1: continue
        b24=_oriented(M[j],mir[k])
        c48[k]=fit_level(M[i],b24,a,6,True)
        if i!=last24: ba=coarse_band(M[i]); last24=i
        warp(b24,a,w24,in24)
        g,o,_=gain_and_offset(M[i],w24,in24)
        for y in range(24):
            for x in range(24):
                w24[y,x]=g*w24[y,x]+o if in24[y,x] else M[i,y,x]
        c24[k]=coarse_agreement(ba,coarse_band(w24),in24)
        if c24[k]<r24 or stage==2: continue
        b48=_oriented(T[j],mir[k])
        if i!=last:
            a48=_oriented(T[i],False); bands(a48,fa,ma); last=i
        fit_level(a48,b48,a,4,True)
        if stage==3: continue
        warp(b48,a,w,inside)
        g,o,_=gain_and_offset(a48,w,inside)
        for y in range(n):
            for x in range(n):
                if inside[y,x]: w[y,x]=g*w[y,x]+o
                else: w[y,x]=a48[y,x]
        bands(w,fb,mb)
        compare(fa,ma,fb,mb,inside,ev[k])
